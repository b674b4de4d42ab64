"""What each key has in the making, for `progress` and `interrupt`; and the model that it chose by `options`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from limner.serve.ledger import Key
from limner.serve.orders import Job
from limner.serve.service import Service
from limner.serve.studio.events import Listener, Preview, Progress

Owner = int | None
MOST_CHOSEN = 1000  # keys whose choice is remembered


@dataclass(slots=True)
class Making:
    """A request that is being drawn. `steps` is what is done of each picture, of `whole` steps."""

    job: Job
    began: float = field(default_factory=time.monotonic)
    steps: dict[int, int] = field(default_factory=dict)
    whole: int = 0
    preview: Preview | None = None
    interrupted: bool = False

    async def follow(self, events: Listener) -> None:
        async for event in events:
            if isinstance(event, Progress):
                self.steps[event.index], self.whole = event.step, event.steps
            elif isinstance(event, Preview):
                self.preview = event

    @property
    def share(self) -> float:
        """From 0 to 1."""
        return sum(self.steps.values()) / (self.whole * self.job.order.count) if self.whole else 0.0

    @property
    def seconds_left(self) -> float:
        share = self.share
        return (time.monotonic() - self.began) * (1.0 - share) / share if share else 0.0


class Board:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._making: dict[Owner, list[Making]] = {}
        self._chosen: dict[Owner, str] = {}

    def current(self, key: Key | None) -> Making | None:
        """What the key asked for first of all that is being drawn."""
        return next(iter(self._making.get(_owner(key), [])), None)

    def count(self, key: Key | None) -> int:
        return len(self._making.get(_owner(key), []))

    @contextlib.contextmanager
    def shown(self, key: Key | None, job: Job, events: Listener) -> Iterator[Making]:
        """On the board as long as this lasts."""
        owner, making = _owner(key), Making(job)
        self._making.setdefault(owner, []).append(making)
        following = asyncio.create_task(making.follow(events))
        try:
            yield making
        finally:
            following.cancel()
            self._making[owner].remove(making)
            if not self._making[owner]:
                del self._making[owner]

    async def interrupt(self, key: Key | None) -> None:
        """All that the key has in the making ends with what is finished."""
        for making in list(self._making.get(_owner(key), [])):
            making.interrupted = True
            await self._service.cancel(making.job.id)

    def chosen(self, key: Key | None) -> str | None:
        return self._chosen.get(_owner(key))

    def choose(self, key: Key | None, model: str) -> None:
        self._chosen.pop(_owner(key), None)
        self._chosen[_owner(key)] = model
        while len(self._chosen) > MOST_CHOSEN:
            del self._chosen[next(iter(self._chosen))]


def _owner(key: Key | None) -> Owner:
    return None if key is None else key.id
