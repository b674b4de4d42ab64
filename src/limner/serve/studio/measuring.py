"""How many pictures of a model this machine draws well together, found by drawing a few steps.

The machine may be busy just then, since a server starts: so the counts take turns, and each is known by its best step.
A best that does not come twice is luck; who is left in doubt takes the usual number, since too many together cost
patience, and too few half of what the machine can do.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from limner.core import Sketch
from limner.pipeline import Pipeline

COUNTS = (1, 2, 4, 8, 12, 16)  # beyond, little is left to gain, and each takes memory
USUAL = 8
SECONDS, LONGEST = 0.5, 1.0  # for all rounds, where they agree and where they do not
NEARLY = 0.93  # of the best rate: with fewer together each is done sooner


def measured(pipe: Pipeline) -> int:
    """The number of pictures of the model's own size that are drawn nearly as fast as any number of them together.

    A model whose step takes most of the time there is gets 1: on its own it fills the machine.
    """
    _step(pipe, 1)  # the first step of a model is slow
    times: defaultdict[int, list[float]] = defaultdict(list)
    for count in _turns(times):
        times[count].append(_step(pipe, count))
    pipe.rest()
    found = smallest({count: count / min(taken) for count, taken in times.items()})
    return found if sure(times) else max(found, min(USUAL, max(times)))


def sure(times: Mapping[int, Sequence[float]]) -> bool:
    """Whether each count has taken its best time, or nearly, twice."""
    return bool(times) and all(len(taken) > 1 and min(taken) > NEARLY * sorted(taken)[1] for taken in times.values())


def smallest(rates: Mapping[int, float]) -> int:
    """The least number whose rate is nearly the best."""
    return min(count for count, rate in rates.items() if rate >= NEARLY * max(rates.values()))


def room(pipe: Pipeline, together: int | None = None) -> int:
    """The same in pixels; `together` where it is known."""
    return (measured(pipe) if together is None else together) * int(pipe.family.config.image_size) ** 2


def _turns(times: Mapping[int, Sequence[float]]) -> Iterator[int]:
    """Which count is next, as long as there is time."""
    began = time.perf_counter()
    while True:
        for count in _affordable(times):
            if time.perf_counter() - began > (SECONDS if sure(times) else LONGEST):
                return
            yield count


def _affordable(times: Mapping[int, Sequence[float]]) -> list[int]:
    """Those of which a step takes at most half of the time, as far as can be told."""
    each = min((min(taken) / count for count, taken in times.items()), default=SECONDS)
    return [count for count in COUNTS if count == 1 or 2 * count * each <= SECONDS]


def _step(pipe: Pipeline, count: int) -> float:
    """Seconds of a step of so many pictures. Their texts are read before."""
    sketches = pipe.begin(pipe.requests("a red square on a white ground", copies=count, seeds=0))
    undone: list[Sketch] = [one for one in sketches if not one.done]
    began = time.perf_counter()
    if undone:
        pipe.advance(undone)
    return max(time.perf_counter() - began, 1e-9)
