"""What an order asks of a worker, as far as can be told beforehand: for fair shares, and for how long to wait."""

from __future__ import annotations

import math

from limner.serve.orders import Order
from limner.serve.studio.messages import Ready
from limner.shelf import find_model

STEPS, SIDE = 20, 512  # of a model that was never loaded
BASE = 400 << 20  # bytes of a process before its weights


def pixels(order: Order, ready: Ready | None) -> int:
    """The most that one of its pictures takes up at once. An image of a size that the order does not name is usual."""
    side = ready.own if ready is not None else SIDE
    area = math.prod(order.size or (side, side))
    return max(1, round(area * order.upscale**2))


def work(order: Order, ready: Ready | None) -> float:
    """Steps times pixels of one of its pictures, both times where it is drawn twice."""
    usual = ready.knobs.get("steps", 1) if ready is not None else STEPS
    steps = order.knobs.get("steps", usual)
    times = float(steps) if isinstance(steps, int | float) and 0 < steps < math.inf else 1.0
    twice = order.upscale > 1.0 and order.image is None
    large = pixels(order, ready)
    return times * (large + (large / order.upscale**2 if twice else 0.0))


def memory(model: str) -> int:
    """Bytes that a worker with this model may hold: its files and half as much again, and the program. InputError or
    OSError where it is not there."""
    path = find_model(model)
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return BASE + sum(one.stat().st_size for one in files) * 3 // 2
