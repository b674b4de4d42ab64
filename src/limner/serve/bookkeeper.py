"""Keeps the studio's jobs: what it draws, on the disk and in the ledger."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from PIL import Image

from limner.canvas import Size
from limner.core import parse
from limner.provenance import Settings, encode
from limner.serve.faults import Unavailable
from limner.serve.ledger import Ledger
from limner.serve.orders import Drawn, Job, State
from limner.serve.pictures import Pictures
from limner.serve.watching import Watch

PATIENCE, PAUSE = 30.0, 0.5  # seconds for which a picture is kept in memory while the disk does not take it

T = TypeVar("T")
log = logging.getLogger(__name__)


class Bookkeeper:
    """What studio/keeper.py asks for. What cannot be written now is written later, as long as `settle` is called."""

    def __init__(self, ledger: Ledger, pictures: Pictures, watch: Watch) -> None:
        self._ledger, self._pictures, self._watch = ledger, pictures, watch
        self._owed: dict[str, Callable[[], object]] = {}  # the ends of jobs that the ledger could not be told

    async def began(self, job: Job) -> int | None:
        fence = await asyncio.to_thread(self._ledger.begin, job.id)
        if fence is not None:
            self._watch.began(job)
        return fence

    async def drawn(
        self, job: Job, fence: int, index: int, pixels: bytes, size: Size, settings: Mapping[str, Any]
    ) -> Drawn | None:
        def keep() -> Drawn | None:
            began, (height, width) = time.perf_counter(), size
            image = Image.frombytes("RGB", (width, height), pixels)
            data = encode(image, "PNG", parse(Settings, settings, "settings"))
            self._watch.staged("encode", time.perf_counter() - began)
            digest = self._pictures.put(data)
            picture = Drawn(index=index, digest=digest, settings=dict(settings))
            return picture if self._ledger.add(job.id, fence, picture) else None

        kept = await _patiently(keep)
        if kept is not None:
            self._watch.drew(job)
        return kept

    async def ended(self, job: Job, fence: int | None, state: State, error: str | None) -> None:
        def end() -> None:
            self._end(job, fence, state, error)

        self._watch.ended(job, state)
        try:
            await asyncio.to_thread(end)
        except Unavailable:
            log.exception("job %s is %s, which is written down later", job.id, state)
            self._owed[job.id] = end

    async def lost(self, job: Job, fence: int) -> bool:
        return await _patiently(lambda: self._ledger.requeue(job.id, fence))

    async def settle(self) -> None:
        """Try again to write down what could not be."""
        for job, end in list(self._owed.items()):
            await asyncio.to_thread(end)
            del self._owed[job]

    def _end(self, job: Job, fence: int | None, state: State, error: str | None) -> None:
        if fence is not None:
            self._ledger.end(job.id, fence, state, error)
        elif state is State.CANCELLED:
            self._ledger.cancel(job.id)
        elif state is State.EXPIRED:
            self._ledger.expire(time.time())
        elif (begun := self._ledger.begin(job.id)) is not None:  # nothing ends that was not begun
            self._ledger.end(job.id, begun, state, error)


async def _patiently(work: Callable[[], T]) -> T:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return await asyncio.to_thread(work)
        except Unavailable:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(PAUSE)
