"""How many pictures of a model this machine draws well together, found by drawing a few steps.

The machine is busy just then, since a server starts: so the counts take turns, and each is known by its best step.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from limner.core import Sketch
from limner.pipeline import Pipeline

COUNTS = (1, 2, 4, 8, 12, 16)  # beyond, little is left to gain, and each takes memory
SECONDS = 0.8  # for rounds of all counts after the first, and the most that one step may take
NEARLY = 0.93  # of the best rate: with fewer together each is done sooner


def measured(pipe: Pipeline, *, seconds: float = SECONDS) -> int:
    """The number of pictures of the model's own size that are drawn nearly as fast as any number of them together.

    A model whose first step takes most of the time there is gets 1: on its own it fills the machine.
    """
    _step(pipe, 1)  # the first step of a model is slow
    ends = time.perf_counter() + seconds
    best = {1: _step(pipe, 1)}
    for count in COUNTS[1:]:
        if 2 * count * min(taken / n for n, taken in best.items()) > seconds:
            break
        best[count] = _step(pipe, count)
    while time.perf_counter() + sum(best.values()) < ends:
        best = {count: min(taken, _step(pipe, count)) for count, taken in best.items()}
    pipe.rest()
    return smallest({count: count / taken for count, taken in best.items()})


def smallest(rates: Mapping[int, float]) -> int:
    """The least number whose rate is nearly the best."""
    return min(count for count, rate in rates.items() if rate >= NEARLY * max(rates.values()))


def room(pipe: Pipeline, together: int | None = None) -> int:
    """The same in pixels; `together` where it is known."""
    return (measured(pipe) if together is None else together) * int(pipe.family.config.image_size) ** 2


def _step(pipe: Pipeline, count: int) -> float:
    """Seconds of a step of so many pictures. Their texts are read before."""
    sketches = pipe.begin(pipe.requests("a red square on a white ground", copies=count, seeds=0))
    undone: list[Sketch] = [one for one in sketches if not one.done]
    began = time.perf_counter()
    if undone:
        pipe.advance(undone)
    return max(time.perf_counter() - began, 1e-9)
