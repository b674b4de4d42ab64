"""A model made ready to draw fast on the machine at hand: precision, memory format, packed layers, compilation."""

from __future__ import annotations

from limner.engine.precision import PRECISIONS, dtype_for
from limner.engine.ready import prepare, prepared

__all__ = ["PRECISIONS", "dtype_for", "prepare", "prepared"]
