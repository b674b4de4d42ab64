"""Numbers that change while a network learns, as pure functions of how much of its training has passed."""

from __future__ import annotations

import math


def cosine(passed: float, *, over: float, first: float, last: float) -> float:
    """From `first` at 0 to `last` at `over` and ever after, by half a cosine: level at both ends."""
    done = min(1.0, passed / over) if over else 1.0
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * done))
