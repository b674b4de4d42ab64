"""How many pictures of a model this machine draws well together, found by drawing a few steps."""

from __future__ import annotations

import time
from collections.abc import Mapping

from limner.core import Sketch
from limner.pipeline import Pipeline

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # beyond, little is left to gain, and each takes memory
SECONDS = 0.8  # that measuring may take, in so far as the first step leaves a choice
NEARLY = 0.95  # of the best rate: with fewer together each is done sooner
FALLING = 0.9  # of the best rate: more will not be better


def measured(pipe: Pipeline, *, seconds: float = SECONDS) -> int:
    """The number of pictures of the model's own size that are drawn nearly as fast as any number of them together.

    A model whose first step takes most of the time there is gets 1: on its own it fills the machine.
    """
    ends = time.perf_counter() + seconds
    rates = {1: _rate(pipe, 1)}  # the first step of a model is slow, and is measured again
    for count in COUNTS:
        best = max(rates.values())
        if time.perf_counter() + 3 * count / best > ends:
            break
        rates[count] = _rate(pipe, count)
        if rates[count] < FALLING * best:
            break
    pipe.rest()
    return smallest(rates)


def smallest(rates: Mapping[int, float]) -> int:
    """The least number whose rate is nearly the best."""
    return min(count for count, rate in rates.items() if rate >= NEARLY * max(rates.values()))


def room(pipe: Pipeline, together: int | None = None) -> int:
    """The same in pixels; `together` where it is known."""
    return (measured(pipe) if together is None else together) * int(pipe.family.config.image_size) ** 2


def _rate(pipe: Pipeline, count: int) -> float:
    """Pictures' steps in a second, the better of two."""
    sketches = _begun(pipe, count)
    return count / min(_step(pipe, sketches), _step(pipe, sketches))


def _begun(pipe: Pipeline, count: int) -> list[Sketch]:
    return pipe.begin(pipe.requests("a red square on a white ground", copies=count, seeds=0))


def _step(pipe: Pipeline, sketches: list[Sketch]) -> float:
    """Seconds of a step of those that are not done; a picture of one step begins anew."""
    undone = [one for one in sketches if not one.done] or _begun(pipe, len(sketches))
    began = time.perf_counter()
    pipe.advance([one for one in undone if not one.done])
    return max(time.perf_counter() - began, 1e-9)
