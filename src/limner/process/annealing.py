"""Numbers that change while a network learns, as pure functions of the images that it has seen."""

from __future__ import annotations

import math


def cosine(images: float, *, over: float, first: float, last: float) -> float:
    """From `first` at no images to `last` at `over` images and ever after, by half a cosine: level at both ends."""
    passed = min(1.0, images / over) if over else 1.0
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * passed))
