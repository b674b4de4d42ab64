"""The crew: workers by their models, which are hired, listened to, and replaced when they fall.

A worker is hired when a picture of its model waits, and leaves, the one used least first, when others need its memory.
Where pictures of more models wait than there is memory for, each model has its turn.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from limner.core import InputError
from limner.serve.studio import costs
from limner.serve.studio.hand import Hand
from limner.serve.studio.limits import Limits
from limner.serve.studio.messages import Advanced, Done, Failed, FromWorker, Load, Ready, Unable
from limner.serve.studio.queue import Entry
from limner.serve.tasks import Tasks

COMMAND = (sys.executable, "-m", "limner.serve.studio.worker")
GRACE = 3.0  # seconds for a worker to leave by itself
FAULTS = 3  # pictures in a row that fail by a worker's own fault: it may be that it can draw nothing any more

log = logging.getLogger(__name__)


class Ears(Protocol):
    """Who is told what the crew hears."""

    async def told(self, hand: Hand, message: FromWorker, blobs: Sequence[bytes]) -> None: ...

    async def handed_back(self, entries: Sequence[Entry], *, died: bool) -> None:
        """These pictures will not be drawn by the worker that had them. It may have `died` of any of them."""
        ...

    async def hopeless(self, model: str, error: str) -> None:
        """Nothing is drawn with this model for now; `error` may be shown to who asked."""
        ...


@dataclass(slots=True)
class Record:
    """What is known of a model's workers, the last of which left at `left`. `falls` died; `row` came to nothing since
    the last picture, and none is hired before `pause`."""

    ready: Ready | None = None
    memory: int = 0
    left: float = 0.0
    falls: int = 0
    row: int = 0
    pause: float = 0.0

    def stumbled(self, limits: Limits) -> float:
        """One more came to nothing: seconds until the next."""
        self.row += 1
        pause = min(limits.longest, limits.backoff * 2.0 ** min(self.row - 1, 50))
        self.pause = time.monotonic() + pause
        return pause


class Crew:
    """At most one worker of each model."""

    def __init__(self, ears: Ears, limits: Limits, command: Sequence[str], load: Callable[[str], Load]) -> None:
        self._ears, self._limits, self._command, self._load = ears, limits, command, load
        self._hands: dict[str, Hand] = {}
        self._records: defaultdict[str, Record] = defaultdict(Record)
        self._tasks = Tasks()

    def __iter__(self) -> Iterator[Hand]:
        return iter(list(self._hands.values()))

    def known(self, model: str) -> Ready | None:
        """What its last worker said of it."""
        return self._records[model].ready

    @property
    def falls(self) -> dict[str, int]:
        return {model: one.falls for model, one in self._records.items() if one.falls}

    def end_silent(self) -> None:
        for hand in self:
            if not hand.gone and hand.silent(self._limits.silence):
                log.error("the worker for %s said nothing for %.0f s and is ended", hand.model, self._limits.silence)
                hand.kill()

    async def close(self) -> None:
        """No worker is left."""
        await asyncio.gather(*(hand.dismiss(GRACE) for hand in self))
        await self._tasks.end(GRACE)

    # -- hiring --------------------------------------------------------------------------------------

    async def staff(self, waiting: Mapping[str, float], *, usual: Sequence[str] = ()) -> None:
        """See to a worker for each model that pictures wait for, since these times, and for the `usual` ones."""
        for hand in self:
            hand.leaving = False
        wanted = {**dict.fromkeys(usual, math.inf), **waiting}
        missing = {
            model: max(since, self._records[model].left) for model, since in wanted.items() if model not in self._hands
        }
        for model in sorted(missing, key=missing.__getitem__):
            if time.monotonic() >= self._records[model].pause:
                await self._hire(model, missing[model], waiting)

    async def _hire(self, model: str, since: float, waiting: Mapping[str, float]) -> None:
        record = self._records[model]
        try:
            load = self._load(model)
            record.memory = record.memory or costs.memory(load.model)
            if not self._make_room(record.memory, since, waiting):
                return
            hand = self._hands[model] = await Hand.hire(model, self._command, load)
        except InputError as error:
            await self._refused(model, str(error))
        except OSError as error:
            self._stumbled(model, f"could not be started: {error}")
            await self._despair(model)
        else:
            self._tasks.go(self._attend(hand))

    def _make_room(self, wanted: int, since: float, waiting: Mapping[str, float]) -> bool:
        """Whether there is memory for one more, who has been missed `since` then; inf: nobody asks for it yet. If not,
        somebody leaves for it."""
        held = sum(hand.memory or self._records[hand.model].memory for hand in self)
        if not self._hands or held + wanted <= self._limits.memory:
            return True
        if not any(hand.dismissed for hand in self):
            self._end_turn(since)
            self._dismiss_idle(since, waiting)
        return False

    def _end_turn(self, since: float) -> None:
        """Who has been drawing for longest finishes what it has, if others have waited for long enough."""
        before = time.monotonic() - self._limits.patience
        drawing = [hand for hand in self if hand.ready is not None and hand.since < before]
        if drawing and since < before:
            min(drawing, key=lambda hand: hand.since).leaving = True

    def _dismiss_idle(self, since: float, waiting: Mapping[str, float]) -> None:
        """One that nobody waits for. For a worker that nobody asks for yet, one that nobody has used for a while."""
        before = time.monotonic() - (self._limits.patience if since == math.inf else 0.0)
        idle = [hand for hand in self if hand.idle and hand.used <= before]
        if free := [hand for hand in idle if hand.leaving or hand.model not in waiting]:
            least = min(free, key=lambda hand: hand.used)
            least.dismissed = True  # from now on: it is given nothing more
            self._tasks.go(least.dismiss(GRACE))

    # -- listening -----------------------------------------------------------------------------------

    async def _attend(self, hand: Hand) -> None:
        try:
            async for message, blobs in hand.messages():
                await self._told(hand, message, blobs)
        except Exception:
            log.exception("the worker for %s is ended: it could not be understood", hand.model)
        finally:
            await hand.end()
        await self._fell(hand)

    async def _told(self, hand: Hand, message: FromWorker, blobs: Sequence[bytes]) -> None:
        record = self._records[hand.model]
        match message:
            case Ready():
                hand.is_ready(message)
                record.ready = message
                log.info("%s is ready after %.1f s, with room for %d pixels", hand.model, message.seconds, message.room)
            case Unable(error=error, fault=fault):
                await self._unable(hand, error, fault)
            case Advanced():
                hand.advanced(message)
            case Done():
                record.row = hand.faults = 0
                hand.pictures += 1
            case Failed(fault=True):
                hand.faults += 1
        await self._ears.told(hand, message, blobs)
        if hand.faults >= FAULTS and not hand.dismissed:
            log.error("the worker for %s failed %d times in a row and is replaced", hand.model, hand.faults)
            hand.dismissed = True
            self._tasks.go(hand.dismiss(GRACE))

    async def _unable(self, hand: Hand, error: str, fault: bool) -> None:
        if fault:
            log.error("the worker for %s could not load it: error %s", hand.model, error)
            return
        hand.dismissed = True
        await self._refused(hand.model, error)

    async def _refused(self, model: str, error: str) -> None:
        self._records[model].stumbled(self._limits)
        log.error("%s cannot be loaded: %s", model, error)  # which may name a folder, and is for us
        await self._ears.hopeless(model, f"{model} cannot be loaded now")

    # -- falling -------------------------------------------------------------------------------------

    async def _fell(self, hand: Hand) -> None:
        record = self._records[hand.model]
        del self._hands[hand.model]
        record.left = time.monotonic()
        record.memory = hand.memory or record.memory
        if died := not hand.dismissed:
            record.falls += 1
            self._stumbled(hand.model, f"died ({hand.process.returncode})")
        await self._ears.handed_back(list(hand.tasks.values()), died=died)
        if died:
            await self._despair(hand.model)

    def _stumbled(self, model: str, how: str) -> None:
        record = self._records[model]
        pause = record.stumbled(self._limits)
        log.error("the worker for %s %s, %d in a row; the next in %.1f s", model, how, record.row, pause)

    async def _despair(self, model: str) -> None:
        """If too many have fallen."""
        if self._records[model].row >= self._limits.falls:
            line = f"what draws with {model} breaks off again and again: try again later"
            await self._ears.hopeless(model, line)
