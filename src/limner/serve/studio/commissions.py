"""The jobs that are in the studio, from their coming to their end, of which the keeper is told, and who listens."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from weakref import WeakSet

from limner.serve.orders import ATTEMPTS, Job, State
from limner.serve.studio.events import Event, Listener, Over
from limner.serve.studio.keeper import Keeper
from limner.serve.studio.messages import Done
from limner.serve.studio.queue import Entry

REMEMBERED = 1000  # jobs that are over, for who asks too late
PAUSE = 1.0  # seconds until what could not be begun is tried again
GONE = "the image that it was to be drawn over is gone"

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Commission:
    """A job in the studio. `left` are the pictures that are not drawn yet. `fence` is None until it is begun, and again
    once a worker has died of it, which `attempts` counts; while it is `handed_back`, and until its `pause` has passed,
    none of its pictures is given out. `files` are those that its order names, once they are read."""

    job: Job
    left: set[int]
    files: tuple[bytes, ...] | None = None
    fence: int | None = None
    attempts: int = 0
    handed_back: bool = False
    pause: float = 0.0
    over: bool = False
    listeners: WeakSet[Listener] = field(default_factory=WeakSet)  # as long as somebody listens

    @property
    def ready(self) -> bool:
        return not self.handed_back and time.monotonic() >= self.pause

    def tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener.tell(event)


class Commissions:
    """By the ids of their jobs. `withdraw` sees to it that none of a job's pictures is drawn any further. Until `pause`
    none is begun, since the keeper could not."""

    def __init__(self, keeper: Keeper, withdraw: Callable[[str], None]) -> None:
        self._keeper, self._withdraw, self.pause = keeper, withdraw, 0.0
        self._here: dict[str, Commission] = {}
        self._past: OrderedDict[str, Over] = OrderedDict()

    def __len__(self) -> int:
        return len(self._here)

    def __iter__(self) -> Iterator[Commission]:
        return iter(list(self._here.values()))

    def __contains__(self, job: str) -> bool:
        """Whether it is here, or was of late."""
        return job in self._here or job in self._past

    def add(self, job: Job) -> Commission:
        assert job.id not in self._here, f"job {job.id} is here already"
        self._past.pop(job.id, None)
        left = set(range(job.order.count)) - {one.index for one in job.drawn}
        commission = self._here[job.id] = Commission(job, left)
        return commission

    def wanted(self, job: str) -> Commission | None:
        """One that is here, and not over."""
        commission = self._here.get(job)
        return None if commission is None or commission.over else commission

    def of(self, entries: Iterable[Entry]) -> list[Commission]:
        """Those of these pictures that are wanted, each once."""
        found = (self.wanted(job) for job in dict.fromkeys(entry.job for entry in entries))
        return [one for one in found if one is not None]

    def listener(self, job: str) -> Listener:
        """What happens to a job from now on. Of one that was over a while ago only that is told, and of one that nobody
        knows nothing."""
        listener = Listener()
        if job in self._here:
            self._here[job].listeners.add(listener)
        elif job in self._past:
            listener.tell(self._past[job])
        else:
            listener.close()
        return listener

    # -- a job's way ---------------------------------------------------------------------------------

    async def begin(self, commission: Commission) -> bool:
        """Whether it is begun. Where it is not, it may be over, or may be begun a little later."""
        if commission.files is None and not await self._read(commission):
            return False
        try:
            begun = await self._keeper.began(commission.job)
        except Exception:
            log.exception("job %s cannot be begun now", commission.job.id)
            self.pause = time.monotonic() + PAUSE
            return False
        if isinstance(begun, State):
            await self.end(commission, begun)
            return False
        commission.fence = begun
        return True

    async def _read(self, commission: Commission) -> bool:
        """Whether its files are here. That they cannot be read now holds nobody else up."""
        try:
            commission.files = await self._keeper.files(commission.job.order)
        except Exception:
            log.exception("what job %s is drawn over cannot be read now", commission.job.id)
            commission.pause = time.monotonic() + PAUSE
            return False
        if commission.files is None:
            await self.end(commission, State.FAILED, GONE)
        return commission.files is not None

    async def drew(self, commission: Commission, fence: int | None, index: int, done: Done, pixels: bytes) -> None:
        """A picture is kept by who has this fence, and the job done if it was the last."""
        assert fence is not None, commission
        try:
            kept = await self._keeper.drawn(commission.job, fence, index, pixels, done.size, done.settings)
        except Exception:
            number = _logged(f"a picture of job {commission.job.id} could not be kept")
            await self.end(commission, State.FAILED, f"the picture could not be kept (error {number})")
            return
        if kept is None and commission.fence == fence:  # it was ended behind our back
            await self.end(commission, State.CANCELLED)
        elif kept is not None and not commission.over:
            commission.left.discard(index)
            commission.tell(kept)
            if not commission.left:
                await self.end(commission, State.DONE)

    def hold(self, entries: Iterable[Entry]) -> list[Commission]:
        """The jobs of these pictures, of which a worker died: nothing of them is given out until they are lost."""
        held = self.of(entries)
        for commission in held:
            commission.handed_back = True
        return held

    async def lose(self, held: Iterable[Commission]) -> None:
        """Each of these is to be begun anew, or has had enough workers."""
        await asyncio.gather(*(self._hand_back(one) for one in held if not one.over))

    async def _hand_back(self, commission: Commission) -> None:
        commission.attempts += 1
        fence, commission.fence = commission.fence, None
        assert fence is not None, commission
        try:
            again = await self._keeper.lost(commission.job, fence)
        except Exception:
            log.exception("job %s could not be handed back", commission.job.id)
            again = True
        commission.handed_back = False
        if not again or commission.attempts >= ATTEMPTS:
            times = "once" if commission.attempts == 1 else f"{commission.attempts} times"
            await self.end(commission, State.FAILED, f"what drew it broke off, {times}: try again later")

    async def end_all(self, entries: Iterable[Entry], state: State, error: str | None = None) -> None:
        """All the jobs of these pictures."""
        await asyncio.gather(*(self.end(one, state, error) for one in self.of(entries)))

    async def end(self, commission: Commission, state: State, error: str | None = None) -> None:
        """For good, told to the keeper first and then to who listens."""
        if commission.over:
            return
        self._leave(commission)
        try:
            await self._keeper.ended(commission.job, commission.fence, state, error)
        except Exception:
            log.exception("the end of job %s could not be kept", commission.job.id)
        finally:
            self._close(commission, Over(state=state, error=error))

    def put_down(self, commission: Commission) -> None:
        """It is still to be drawn, by somebody else."""
        if not commission.over:
            self._leave(commission)
            self._close(commission, Over(state=State.QUEUED))

    def _leave(self, commission: Commission) -> None:
        commission.over = True
        self._withdraw(commission.job.id)

    def _close(self, commission: Commission, over: Over) -> None:
        job = commission.job.id
        del self._here[job]
        self._past[job] = over
        while len(self._past) > REMEMBERED:
            self._past.popitem(last=False)
        commission.tell(over)


def _logged(what: str) -> str:
    """The number under which the log has the exception at hand."""
    number = secrets.token_hex(4)
    log.exception("error %s: %s", number, what)
    return number
