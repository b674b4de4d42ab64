"""A model made ready to draw fast on the machine at hand: precision, memory format, packed layers, compilation."""

from __future__ import annotations

from limner.engine.allocator import keep_memory
from limner.engine.compiled import check_wish
from limner.engine.precision import NAMES, PRECISIONS, can_compute, check_can_compute, dtype_for
from limner.engine.ready import prepare, prepared, rest

__all__ = [
    "NAMES", "PRECISIONS", "can_compute", "check_can_compute", "check_wish", "dtype_for", "keep_memory", "prepare",
    "prepared", "rest",
]  # fmt: skip
