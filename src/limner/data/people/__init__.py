"""People's own captioned pictures: read, checked, divided, shown."""

from limner.data.people.source import Pictures, open_pictures

__all__ = ["Pictures", "open_pictures"]
