"""An error in one line without its own words, which may quote what somebody typed."""

from __future__ import annotations

import traceback
from pathlib import Path


def traced(error: BaseException) -> str:
    """`KeyError at app.py:12 _answered, seen.py:7 found; from OSError at ...`: types and places, the innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    places = ", ".join(f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in frames)
    own = f"{type(error).__name__} at {places}" if places else type(error).__name__
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return own if before is None else f"{own}; from {traced(before)}"
