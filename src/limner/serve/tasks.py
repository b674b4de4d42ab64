"""Work that goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Tasks:
    """Tasks that are held until they are done: asyncio alone would forget them on the way."""

    def __init__(self) -> None:
        self._going: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._going)

    def go(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)
        return task

    async def end(self, seconds: float | None = None) -> None:
        """Wait for all of them, for so long; what is late then is cancelled. None: for as long as it takes."""
        if not self._going:
            return
        _, late = await asyncio.wait(self._going, timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
