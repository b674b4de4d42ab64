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
from limner.serve.orders import Drawn, Job, Order, State
from limner.serve.pictures import Pictures
from limner.serve.watching import Watch

PATIENCE, PAUSE = 30.0, 0.5  # seconds for which a picture is kept in memory while the disk does not take it

T = TypeVar("T")
log = logging.getLogger(__name__)


class Bookkeeper:
    """What studio/keeper.py asks for. What cannot be written now is written later, as long as `settle` is called.

    After Unavailable nobody knows what was written. So what is said again finds that it was, where it was: nobody else
    writes of a job that this studio has.
    """

    def __init__(self, ledger: Ledger, pictures: Pictures, watch: Watch) -> None:
        self._ledger, self._pictures, self._watch = ledger, pictures, watch
        self._owed: dict[str, Callable[[], object]] = {}  # the ends of jobs that the ledger could not be told

    async def files(self, order: Order) -> tuple[bytes, ...] | None:
        found = []
        for name in (order.image, order.mask):
            file = None if name is None else await asyncio.to_thread(self._pictures.get, name)
            if name is not None and file is None:
                return None
            found += [] if file is None else [file]
        return tuple(found)

    async def began(self, job: Job) -> int | State:
        begun = await asyncio.to_thread(self._begun, job.id)
        if not isinstance(begun, State):
            self._watch.began(job)
        return begun

    async def drawn(
        self, job: Job, fence: int, index: int, pixels: bytes, size: Size, settings: Mapping[str, Any]
    ) -> Drawn | None:
        data = await asyncio.to_thread(self._encoded, pixels, size, settings)

        def keep() -> Drawn | None:
            picture = Drawn(index=index, digest=self._pictures.put(data), settings=dict(settings))
            return picture if self._ledger.add(job.id, fence, picture) else None

        kept = await _patiently(keep)
        if kept is not None:
            self._watch.drew(job)
        return kept

    async def ended(self, job: Job, fence: int | None, state: State, error: str | None) -> None:
        def end() -> None:
            self._end(job, fence, state, error)

        try:
            await asyncio.to_thread(end)
        except Unavailable:
            log.exception("job %s is %s, which is written down later", job.id, state)
            self._owed[job.id] = end
        self._watch.ended(job, state)

    async def lost(self, job: Job, fence: int) -> bool:
        return await _patiently(lambda: self._requeued(job.id, fence))

    async def settle(self) -> None:
        """Try again to write down what could not be. Unavailable where it still cannot."""
        for job, end in list(self._owed.items()):
            try:
                await asyncio.to_thread(end)
            except Unavailable:
                raise
            except Exception:
                log.exception("the end of job %s cannot be written down", job)
            self._owed.pop(job, None)

    # -- in the ledger -------------------------------------------------------------------------------

    def _begun(self, job: str) -> int | State:
        """Its fence: a new one or, where it was begun and the answer was lost, the one that it has."""
        fence = self._ledger.begin(job)
        if fence is not None:
            return fence
        found = self._ledger.get(job)
        assert found is not None, job
        return found.fence if found.state is State.RUNNING else found.state

    def _requeued(self, job: str, fence: int) -> bool:
        """Whether it waits again, by this or by an earlier try."""
        if self._ledger.requeue(job, fence):
            return True
        found = self._ledger.get(job)
        return found is not None and (found.state, found.fence) == (State.QUEUED, fence)

    def _end(self, job: Job, fence: int | None, state: State, error: str | None) -> None:
        if fence is not None:
            self._ledger.end(job.id, fence, state, error)
        elif state is State.CANCELLED:
            self._ledger.cancel(job.id)
        elif not isinstance(begun := self._begun(job.id), State):  # nothing ends that was not begun
            self._ledger.end(job.id, begun, state, error)

    def _encoded(self, pixels: bytes, size: Size, settings: Mapping[str, Any]) -> bytes:
        began, (height, width) = time.perf_counter(), size
        image = Image.frombytes("RGB", (width, height), pixels)
        data = encode(image, "PNG", parse(Settings, settings, "settings"))
        self._watch.staged("encode", time.perf_counter() - began)
        return data


async def _patiently(work: Callable[[], T]) -> T:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return await asyncio.to_thread(work)
        except Unavailable:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(PAUSE)
