"""The most that one request may ask for, checked before any work begins."""

from __future__ import annotations

from limner.core import InputError, check
from limner.serve.catalogue import Model
from limner.serve.orders import Order

BODY = 64 << 20  # bytes of a request
PART = 1 << 20  # bytes of a field of a form that is no file
UPLOAD = 50 << 20  # bytes of one picture in it
PIXELS = 16 << 20  # of a picture that is sent, before it is decoded
PROMPT = 2000  # characters
SIDE = 4096  # pixels
STEPS = 1000
WORK = 10 * 50 * 1024 * 1024  # pixels times steps times pictures, of one order
PAUSE = 30.0  # seconds between two parts of a body
NAME = 255  # characters of an Idempotency-Key


def check_order(order: Order, model: Model) -> None:
    """InputError where it is too much, though each of its parts may be allowed."""
    height, width = order.size or (model.side, model.side)
    check(max(height, width) <= SIDE, f"{width} x {height} pixels are too many: at most {SIDE} a side")
    steps = order.knobs.get("steps", model.defaults.get("steps", 1))
    if not isinstance(steps, int | float):
        raise InputError(f"steps = {steps!r} is no number")
    work = height * width * order.upscale**2 * max(1, steps) * order.count
    most = WORK * max(1.0, model.defaults.get("steps", 1) / 50)
    check(
        work <= most,
        f"{order.count} pictures of {width} x {height} pixels in {steps} steps are more than is drawn at once: ask for "
        f"fewer, smaller ones or fewer steps",
    )
