"""What a picture of a scene shows, read against the artwork that scenes are made of (docs/scorer.md)."""

from limner.evaluate.scorer.reader import score
from limner.evaluate.scorer.reading import Reading

__all__ = ["Reading", "score"]
