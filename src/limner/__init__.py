"""Limner: text in, picture out. Train any family of text-to-image model, draw with it, measure it."""

from __future__ import annotations

import typing

__version__ = "0.1.0"
__all__ = ["InputError", "Pipeline", "__version__"]

if typing.TYPE_CHECKING:
    from limner.core import InputError
    from limner.pipeline import Pipeline


def __getattr__(name: str) -> object:
    """Public names load on first use, so that `import limner` costs nothing."""
    if name == "Pipeline":
        from limner.pipeline import Pipeline

        return Pipeline
    if name == "InputError":
        from limner.core import InputError

        return InputError
    raise AttributeError(f"module 'limner' has no attribute {name!r}")
