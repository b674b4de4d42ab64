"""A keeper that is as strict as the ledger, and can be held or made to fail at any moment."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from limner.canvas import Size
from limner.serve.orders import Drawn, Job, Order, State

ATTEMPTS = 2


class Books:
    """It can be told to `hold` at a moment ("files", "began", "drawn", "ended" or "lost"), where everybody then waits.
    `faults` says how often each of them fails first, before or after it was written."""

    def __init__(self) -> None:
        self.states: dict[str, State] = defaultdict(lambda: State.QUEUED)
        self.fences: Counter[str] = Counter()
        self.given: Counter[str] = Counter()  # attempts
        self.pictures: dict[str, list[int]] = defaultdict(list)
        self.ends: dict[str, tuple[State, str | None]] = {}
        self.faults: Counter[str] = Counter()
        self.gone = False
        self.unreadable: set[str] = set()  # files
        self._held: str | None = None
        self._reached, self._released = asyncio.Event(), asyncio.Event()

    def hold(self, moment: str) -> None:
        self._held = moment
        self._reached.clear()
        self._released.clear()

    async def reached(self) -> None:
        await asyncio.wait_for(self._reached.wait(), 10)

    def release(self) -> None:
        self._held = None
        self._released.set()

    async def _at(self, moment: str) -> None:
        if self._held == moment:
            self._reached.set()
            await self._released.wait()
        if self.faults[moment]:
            self.faults[moment] -= 1
            raise OSError("the disk is gone")

    async def files(self, order: Order) -> tuple[bytes, ...] | None:
        await self._at("files")
        names = [name for name in (order.image, order.mask) if name is not None]
        if self.unreadable.intersection(names):
            raise OSError("it cannot be read")
        return None if self.gone and names else tuple(name.encode() for name in names)

    async def began(self, job: Job) -> int | State:
        if self.states[job.id] is State.QUEUED:
            self.states[job.id] = State.RUNNING
            self.fences[job.id] += 1
            self.given[job.id] += 1
        await self._at("began")
        return self.fences[job.id] if self.states[job.id] is State.RUNNING else self.states[job.id]

    async def drawn(
        self, job: Job, fence: int, index: int, pixels: bytes, size: Size, settings: Mapping[str, Any]
    ) -> Drawn | None:
        await self._at("drawn")
        if (self.states[job.id], self.fences[job.id]) != (State.RUNNING, fence):
            return None
        assert index not in self.pictures[job.id], "it was drawn twice"
        assert pixels == bytes([index]) * len(pixels)
        self.pictures[job.id].append(index)
        return Drawn(index=index, digest="0" * 64, settings=dict(settings))

    async def ended(self, job: Job, fence: int | None, state: State, error: str | None) -> None:
        await self._at("ended")
        if self.states[job.id].over:
            return
        assert fence is None or state is State.CANCELLED or self.states[job.id] is State.RUNNING
        assert fence in (None, self.fences[job.id])
        self.states[job.id] = state
        self.ends[job.id] = state, error

    async def lost(self, job: Job, fence: int) -> bool:
        if (self.states[job.id], self.fences[job.id]) == (State.RUNNING, fence):
            self.states[job.id] = State.QUEUED if self.given[job.id] < ATTEMPTS else State.FAILED
        await self._at("lost")
        return self.states[job.id] is State.QUEUED
