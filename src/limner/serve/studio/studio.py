"""The studio: jobs in, events out; in between a fair queue, and the crew that draws.

When a worker dies, only what it was drawing is handed back. Any of those jobs may have been why, so that each is drawn
with no others until it is done: what kills a worker again and again ends alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

from limner.serve.faults import Closed
from limner.serve.orders import Job, State
from limner.serve.studio import costs
from limner.serve.studio.commissions import Commission, Commissions
from limner.serve.studio.crew import COMMAND, Crew
from limner.serve.studio.events import Event, Listener, Preview, Progress
from limner.serve.studio.hand import Hand
from limner.serve.studio.keeper import Keeper
from limner.serve.studio.limits import Limits
from limner.serve.studio.messages import Advanced, Begun, Cancel, Done, Draw, Failed, FromWorker, Gone, Load, Seen
from limner.serve.studio.queue import Entry, Queue
from limner.serve.studio.standing import Standing
from limner.serve.studio.wire import WireError
from limner.serve.tasks import Tasks
from limner.serve.watching import Watch

TICK = 0.25  # seconds between two looks at deadlines and silent workers, where nothing happens
MOMENT = 0.02
MOST_KEPT = 16  # pictures that are being kept at once, before more are begun: each lies in memory
GRACE = 5.0  # seconds for the last ends to be kept, when it closes

log = logging.getLogger(__name__)


class Studio:
    """`async with Studio(keeper) as studio`: it draws as long as it is open, and leaves no process behind. Models that
    are `resident` have a worker before anybody asks for them."""

    def __init__(self, keeper: Keeper, *, limits: Limits | None = None, command: Sequence[str] = COMMAND,
                 load: Callable[[str], Load] = lambda model: Load(model=model),
                 resident: Sequence[str] = (), watch: Watch | None = None) -> None:  # fmt: skip
        self._limits, self._watch, self._resident = limits or Limits(), watch or Watch(), resident
        self._queue = Queue(self._limits.waiting)
        self._commissions = Commissions(keeper, self._withdraw)
        self._crew = Crew(self, self._limits, command, load)
        self._tasks, self._keeping = Tasks(), Tasks()  # pictures that are done together are kept together
        self._numbers = itertools.count()
        self._batches: Counter[int] = Counter()
        self._pictures = 0
        self._draining = self._stopping = False
        self._ends = math.inf  # when what is being drawn is given up
        self._wake = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Studio:
        self._serving = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drain(0.0)

    # -- what others ask -----------------------------------------------------------------------------

    async def submit(self, job: Job) -> None:
        """Draw what is missing of the job. It has been accepted, so that it finds room whatever `check` says; a studio
        that is about to stop puts it down at once."""
        commission = self._commissions.add(job)
        if self._draining:
            self._commissions.put_down(commission)
        elif commission.left:
            self._queue.put([self._entry(job, index) for index in sorted(commission.left)])
            self._wake.set()
        else:
            await self._commissions.end(commission, State.DONE)

    def check(self, count: int) -> None:
        """Before so many pictures are accepted: Full where there is no room, Closed where it is about to stop."""
        if self._draining:
            raise Closed
        self._queue.check(count)

    def knows(self, job: str) -> bool:
        """Whether it is here, or was of late."""
        return job in self._commissions

    def events(self, job: str) -> Listener:
        """What happens to a job from now on, for any number of listeners. Of one that was over a while ago only that
        is told, and of one that nobody knows nothing."""
        return self._commissions.listener(job)

    async def cancel(self, job: str) -> bool:
        """Whether it was there to be cancelled. Its pictures take no step after the one that is being done."""
        commission = self._commissions.wanted(job)
        if commission is None:
            return False
        await asyncio.shield(self._tasks.go(self._commissions.end(commission, State.CANCELLED)))
        return True

    def state(self) -> Standing:
        workers = tuple(hand.standing for hand in self._crew)
        return Standing(
            waiting=len(self._queue), drawing=sum(one.drawing for one in workers), jobs=len(self._commissions),
            workers=workers, batches=dict(self._batches), steps=sum(n * times for n, times in self._batches.items()),
            pictures=self._pictures, falls=self._crew.falls, draining=self._draining,
        )  # fmt: skip

    async def drain(self, grace: float) -> None:
        """Take no more, put down what was not begun, finish the rest within `grace` seconds, and end every worker.
        Called again with less, it hurries."""
        self._draining = True
        self._ends = min(self._ends, time.monotonic() + grace)
        for commission in self._commissions:
            if commission.fence is None:
                self._commissions.put_down(commission)
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        while len(self._commissions) and time.monotonic() < self._ends:
            await asyncio.sleep(MOMENT)
        self._stopping = True
        self._wake.set()
        if self._serving is not None:
            await self._serving  # not cancelled, lest a process that is being started is forgotten
        await self._crew.close()
        await self._tasks.end(GRACE)
        for commission in self._commissions:  # what was begun is begun anew by the next server
            self._commissions.put_down(commission)

    # -- the round -----------------------------------------------------------------------------------

    async def _serve(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                await self._round()
            except Exception:
                log.exception("a round of the studio failed")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), TICK)

    async def _round(self) -> None:
        await self._commissions.end_all(self._queue.expired(time.time()), State.EXPIRED)
        self._crew.end_silent()
        await self._crew.staff(self._queue.models(), usual=() if self._draining else self._resident)
        for hand in self._crew:
            await self._feed(hand)

    async def _feed(self, hand: Hand) -> None:
        while not self._stopping and len(self._keeping) < MOST_KEPT and time.monotonic() >= self._commissions.pause:
            entry = self._queue.next(hand.model, lambda entry: self._commission(entry).ready)
            if entry is None or not self._fits(hand, entry):
                return
            self._queue.take(entry)
            await self._give(hand, entry)

    def _fits(self, hand: Hand, entry: Entry) -> bool:
        """A job that a worker died of is drawn with no others."""
        commission = self._commission(entry)
        others = {one.job for one in hand.tasks.values()} - {entry.job}
        apart = bool(others) and any(self._suspect(job) for job in {*others, entry.job})
        pixels = costs.pixels(commission.job.order, hand.ready)
        return not apart and hand.takes(pixels, held=self._limits.held)

    def _suspect(self, job: str) -> bool:
        commission = self._commissions.wanted(job)
        return commission is not None and commission.attempts > 0

    async def _give(self, hand: Hand, entry: Entry) -> None:
        """Its job is begun first, if it was not. Where that cannot be now, or the worker is gone by then, it waits."""
        commission = self._commission(entry)
        if commission.fence is None and await self._commissions.begin(commission):
            self._queue.begun(entry)
        if commission.over:
            return
        if commission.fence is None or not hand.open:
            self._queue.put_back(entry)
            return
        await self._say(hand, entry, commission)

    async def _say(self, hand: Hand, entry: Entry, commission: Commission) -> None:
        order, files = commission.job.order, commission.files or ()
        draw = Draw(task=f"{entry.job}/{entry.index}/{next(self._numbers)}", order=order, index=entry.index)
        try:
            hand.give(entry, draw, *files, pixels=costs.pixels(order, hand.ready))
        except WireError as error:
            await self._commissions.end(commission, State.REFUSED, f"this is too much to ask for: {error}")

    # -- what the crew tells -------------------------------------------------------------------------

    async def told(self, hand: Hand, message: FromWorker, blobs: Sequence[bytes]) -> None:
        match message:
            case Begun(seconds=seconds):
                self._watch.staged("text", seconds)
            case Advanced():
                self._advanced(hand, message)
            case Seen(task=task, step=step, steps=steps, size=size, settings=settings):
                if (entry := hand.tasks.get(task)) is not None:
                    self._tell(entry, Preview(index=entry.index, step=step, steps=steps, pixels=blobs[0], size=size,
                                              settings=settings))  # fmt: skip
            case Done(task=task):
                self._done(hand.done(task), message, blobs[0])
            case Failed(task=task, error=error, fault=fault):
                await self._failed(hand.done(task), error, fault)
            case Gone(task=task):
                hand.done(task)
        if not isinstance(message, Advanced | Seen):
            self._wake.set()

    def _advanced(self, hand: Hand, step: Advanced) -> None:
        if not step.places:
            return
        self._batches[len(step.places)] += 1
        self._queue.rate.add(step.work, step.seconds)
        self._watch.staged("denoise", step.seconds)
        for at in step.places:
            if (entry := hand.tasks.get(at.task)) is not None:
                self._tell(entry, Progress(index=entry.index, step=at.step, steps=at.steps))

    def _tell(self, entry: Entry, event: Event) -> None:
        if (commission := self._commissions.wanted(entry.job)) is not None:
            commission.tell(event)

    def _done(self, entry: Entry | None, done: Done, pixels: bytes) -> None:
        self._pictures += 1
        self._watch.staged("decode", done.seconds)
        if entry is not None and (commission := self._commissions.wanted(entry.job)) is not None:
            self._keeping.go(self._commissions.drew(commission, commission.fence, entry.index, done, pixels))

    async def _failed(self, entry: Entry | None, error: str, fault: bool) -> None:
        if entry is not None and (commission := self._commissions.wanted(entry.job)) is not None:
            line = f"it could not be drawn (error {error})" if fault else error
            await self._commissions.end(commission, State.FAILED if fault else State.REFUSED, line)

    async def handed_back(self, entries: Sequence[Entry], *, died: bool) -> None:
        lost = self._commissions.hold(entries) if died else []
        await self._keeping.end()  # what it has drawn is kept before the rest is begun anew, which another may keep
        await self._commissions.lose(lost)
        for entry in reversed(entries):
            if self._commissions.wanted(entry.job) is not None:
                self._queue.put_back(entry)
        self._wake.set()

    async def hopeless(self, model: str, error: str) -> None:
        waiting = [entry for entry in self._queue if entry.model == model]
        await self._commissions.end_all(waiting, State.FAILED, error)

    # -- small things --------------------------------------------------------------------------------

    def _withdraw(self, job: str) -> None:
        self._queue.drop(job)
        for hand in self._crew:
            for task in [task for task, entry in hand.tasks.items() if entry.job == job]:
                hand.say(Cancel(task=task))
        self._wake.set()

    def _commission(self, entry: Entry) -> Commission:
        """Of a picture that waits: it is wanted."""
        commission = self._commissions.wanted(entry.job)
        assert commission is not None, entry
        return commission

    def _entry(self, job: Job, index: int) -> Entry:
        order = job.order
        work = costs.work(order, self._crew.known(order.model))
        return Entry(job.id, index, job.key, order.model, work, deadline=job.deadline, since=time.monotonic())
