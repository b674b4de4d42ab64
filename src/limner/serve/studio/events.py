"""What is told of a job while it is drawn, to as many as listen."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limner.canvas import Size
from limner.serve.orders import Drawn, State

MOST_BEHIND, MOST_BYTES = 64, 64 << 20  # events; who is further behind misses steps and previews, and nothing else


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Picture `index` has done `step` of `steps`."""

    index: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The running estimate of picture `index`: RGB, 8 bits each, row by row; `size` is (height, width). `settings` are
    its `provenance.Settings` as JSON."""

    index: int
    step: int
    steps: int
    pixels: bytes
    size: Size
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """The last event. A state that is not `over` means that this studio put the job down: it is still to be drawn."""

    state: State
    error: str | None = None


Event = Progress | Preview | Drawn | Over


class Listener:
    """The events of one job from now on, until it is over: `async for event in listener`."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._news = asyncio.Event()
        self._closed = False

    def tell(self, event: Event) -> None:
        if self._closed:
            return
        self._events.append(event)
        while self._behind() and self._skip():
            pass
        self._closed = isinstance(event, Over)
        self._news.set()

    def close(self) -> None:
        """Nothing more is told, not even what was not heard yet."""
        self._events.clear()
        self._closed = True
        self._news.set()

    @property
    def closed(self) -> bool:
        return self._closed

    def _behind(self) -> bool:
        size = sum(len(one.pixels) for one in self._events if isinstance(one, Preview))
        return len(self._events) > MOST_BEHIND or size > MOST_BYTES

    def _skip(self) -> bool:
        """The oldest that nobody will miss, if there is one."""
        place = next((at for at, one in enumerate(self._events) if isinstance(one, Progress | Preview)), None)
        if place is not None:
            del self._events[place]
        return place is not None

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()
