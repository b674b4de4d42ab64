"""Drawing what is asked and reading it back, on all cores: a process to each, since a small model fills but one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from limner.drawing import BATCH
from limner.evaluate.scorer import score
from limner.evaluate.scorer.reading import Reading
from limner.evaluate.suites.scenes.tasks import Item
from limner.pipeline import Pipeline
from limner.provenance import Settings

AHEAD = 2  # batches to a process that wait for it


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an item: `pixels` (H, W, 3) uint8, and what they show."""

    item: Item
    pixels: NDArray[np.uint8]
    reading: Reading
    settings: Settings

    @property
    def right(self) -> bool:
        return self.item.right(self.reading)

    @property
    def fit(self) -> float:
        """How well the things that were asked for explain the picture, on average: what ranks the best and worst."""
        return sum(one.fit for one in self.reading.things) / len(self.reading.things)


def answers(
    model: Path | str, items: Sequence[Item], *, knobs: Mapping[str, Any] | None = None, processes: int | None = None
) -> Iterator[Answer]:
    """Draw and read every item, as each batch is done and so in no certain order. `knobs` are the usual ones.

    A picture depends on its seed alone, whichever process draws it. With one process, or where there is a GPU, all is
    done in this one.
    """
    processes = processes or (1 if torch.cuda.is_available() else len(os.sched_getaffinity(0)))
    batches = [items[start : start + BATCH] for start in range(0, len(items), BATCH)]
    if min(processes, len(batches)) == 1:
        pipeline = Pipeline.from_pretrained(model)
        for batch in batches:
            yield from answered(pipeline, batch, knobs or {})
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of this one, not their locks
    pool = ProcessPoolExecutor(processes, context, initializer=_start, initargs=(str(model),))
    try:
        yield from _gathered(pool, batches, dict(knobs or {}), at_once=AHEAD * processes)
    finally:
        pool.shutdown(cancel_futures=True)


def answered(pipeline: Pipeline, items: Sequence[Item], knobs: Mapping[str, Any]) -> list[Answer]:
    """One batch, in this process."""
    requests = [
        request
        for item in items
        for request in pipeline.requests(item.truth.caption, seeds=item.seed, knobs={**knobs, **item.knobs})
    ]
    pictures = list(pipeline.stream(requests))
    images = [picture.image for picture in pictures]
    readings = score(images, [item.truth for item in items])
    return [
        Answer(item, np.asarray(image), reading, picture.settings)
        for item, image, reading, picture in zip(items, images, readings, pictures, strict=True)
    ]


def _gathered(
    pool: ProcessPoolExecutor, batches: Sequence[Sequence[Item]], knobs: dict[str, Any], *, at_once: int
) -> Iterator[Answer]:
    """Handing out a few at a time, so that who stops listening waits for little."""
    left = iter(batches)
    running: set[Future[list[Answer]]] = set()
    while True:
        with contextlib.suppress(StopIteration):
            while len(running) < at_once:
                running.add(pool.submit(_work, next(left), knobs))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for one in done:
            yield from one.result()


# ---------------------------------------------------------------------------------------------------
# In the other processes.

_pipeline: Pipeline | None = None


def _start(model: str) -> None:
    global _pipeline
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the first process says when to stop
    torch.set_num_threads(1)
    _pipeline = Pipeline.from_pretrained(model)


def _work(items: Sequence[Item], knobs: dict[str, Any]) -> list[Answer]:
    assert _pipeline is not None
    return answered(_pipeline, items, knobs)
