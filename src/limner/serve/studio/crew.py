"""The studio: jobs in, events out; in between a fair queue, and workers that are started, fed, watched and replaced.

One worker has one model. It is started when a picture of that model waits, and leaves, the one used least first, when
others need its memory. When one dies, only what it was drawing is handed back. Any of those may have been why, so that
each is drawn with no others until it is done: what kills a worker again and again ends alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import secrets
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from limner.core import InputError
from limner.pipeline import find_model
from limner.serve.faults import Closed
from limner.serve.orders import Job, State
from limner.serve.studio import costs
from limner.serve.studio.events import Event, Listener, Over, Preview, Progress
from limner.serve.studio.hand import Hand
from limner.serve.studio.keeper import Keeper
from limner.serve.studio.messages import (
    Advanced,
    At,
    Begun,
    Cancel,
    Done,
    Draw,
    Failed,
    FromWorker,
    Gone,
    Load,
    Ready,
    Seen,
    Unable,
)  # fmt: skip
from limner.serve.studio.queue import Entry, Queue
from limner.serve.watching import Watch

COMMAND = (sys.executable, "-m", "limner.serve.studio.worker")
TICK = 0.25  # seconds between two looks at deadlines and silent workers, where nothing happens
MOMENT = 0.02
PAUSE = 1.0  # seconds without beginning anything, after a keeper that could not
GRACE = 5.0  # seconds for a worker to leave by itself
REMEMBERED = 1000  # jobs that are over, for who asks too late
BASE = 400 << 20  # bytes of a process before its weights, as a first guess

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`waiting`: pictures in the queue. `memory`: bytes of all workers; a single one may always be there. `held`: how
    many times what it draws at once a worker is given to choose from. `attempts`: workers that may die of a job.
    `falls`: workers of a model that may die in a row, before what waits for it fails; between two of them passes
    `backoff`, twice as long each time, up to `longest`. `silence`: seconds in which a worker that has work says
    nothing, and is taken for dead. `patience`: seconds that pictures wait for memory before a busy worker leaves."""

    waiting: int = 256
    memory: int = 8 << 30
    held: float = 4.0
    attempts: int = 2
    falls: int = 5
    backoff: float = 0.5
    longest: float = 30.0
    silence: float = 600.0
    patience: float = 10.0


@dataclass(slots=True, eq=False)
class Commission:
    """A job in the studio. `left` are the pictures that are not drawn yet; `fence` is None until it is begun."""

    job: Job
    files: tuple[bytes, ...]
    left: set[int]
    fence: int | None = None
    attempts: int = 0
    over: bool = False
    listeners: list[Listener] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        self.listeners = [one for one in self.listeners if not one.closed]
        for listener in self.listeners:
            listener.tell(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """A worker, for the metrics. `together` is how many pictures took the last step."""

    model: str
    pid: int
    ready: bool
    seconds: float
    memory: int
    room: int
    drawing: int
    together: int
    steps: int
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The studio, for the metrics. `batches` counts steps by how many pictures took them, `falls` workers that died."""

    waiting: int
    drawing: int
    jobs: int
    workers: tuple[Working, ...]
    batches: dict[int, int]
    steps: int
    pictures: int
    falls: dict[str, int]
    draining: bool


@dataclass(slots=True)
class Record:
    """What is known of a model's workers. `row` of them fell since the last picture; none starts before `pause`."""

    ready: Ready | None = None
    memory: int = 0
    falls: int = 0
    row: int = 0
    pause: float = 0.0


class Studio:
    """`async with Studio(keeper) as studio`: it draws as long as it is open, and leaves no process behind."""

    def __init__(self, keeper: Keeper, *, limits: Limits | None = None, command: Sequence[str] = COMMAND,
                 load: Callable[[str], Load] = lambda model: Load(model=model),
                 resident: Sequence[str] = (), watch: Watch | None = None) -> None:  # fmt: skip
        self._keeper, self._limits, self._command, self._load = keeper, limits or Limits(), command, load
        self._watch = watch or Watch()
        self._resident = resident  # models that have a worker before anybody asks for them
        self._queue = Queue(self._limits.waiting)
        self._commissions: dict[str, Commission] = {}
        self._over: OrderedDict[str, Over] = OrderedDict()
        self._hands: dict[str, Hand] = {}
        self._records: dict[str, Record] = {}
        self._numbers = itertools.count()
        self._batches: Counter[int] = Counter()
        self._pictures, self._pause = 0, 0.0
        self._draining = self._stopping = False
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends = math.inf  # when what is being drawn is given up
        self._serving: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Studio:
        self._serving = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.drain(0.0)

    # -- what others ask -----------------------------------------------------------------------------

    async def submit(self, job: Job, *, image: bytes | None = None, mask: bytes | None = None) -> None:
        """Draw what is missing of the job, over these PNG files where its order names any. It has been accepted, so
        that it finds room whatever `check` says; a studio that is about to stop puts it down at once."""
        assert job.id not in self._commissions, f"job {job.id} is here already"
        left = set(range(job.order.count)) - {one.index for one in job.drawn}
        files = tuple(file for file in (image, mask) if file is not None)
        named = sum(one is not None for one in (job.order.image, job.order.mask))
        assert len(files) == named, f"{len(files)} files came with an order that names {named}"
        commission = self._commissions[job.id] = Commission(job, files, left)
        self._over.pop(job.id, None)
        if self._draining:
            self._put_down(commission)
            return
        self._queue.put([self._entry(job, index) for index in sorted(left)])
        self._wake.set()
        if not left:
            await self._end(commission, State.DONE)

    def check(self, count: int) -> None:
        """Before so many pictures are accepted: Full where there is no room, Closed where it is about to stop."""
        if self._draining:
            raise Closed
        self._queue.check(count)

    def events(self, job: str) -> Listener:
        """What happens to a job from now on, for any number of listeners. Of one that was over a while ago only that
        is told, and of one that nobody knows nothing."""
        listener = Listener()
        if job in self._commissions:
            self._commissions[job].listeners.append(listener)
        elif job in self._over:
            listener.tell(self._over[job])
        else:
            listener.close()
        return listener

    async def cancel(self, job: str) -> bool:
        """Whether it was there to be cancelled. Its pictures take no step after the one that is being done."""
        commission = self._commissions.get(job)
        if commission is None or commission.over:
            return False
        await self._end(commission, State.CANCELLED)
        return True

    @property
    def depth(self) -> int:
        """How many pictures wait."""
        return len(self._queue)

    def state(self) -> Standing:
        workers = tuple(_working(hand) for hand in self._hands.values())
        return Standing(
            waiting=len(self._queue), drawing=sum(one.drawing for one in workers), jobs=len(self._commissions),
            workers=workers, batches=dict(self._batches), steps=sum(n * times for n, times in self._batches.items()),
            pictures=self._pictures, draining=self._draining,
            falls={model: one.falls for model, one in self._records.items() if one.falls},
        )  # fmt: skip

    async def drain(self, grace: float) -> None:
        """Take no more, put down what was not begun, finish the rest within `grace` seconds, and end every worker.
        Called again with less, it hurries."""
        self._draining = True
        self._ends = min(self._ends, time.monotonic() + grace)
        for commission in list(self._commissions.values()):
            if commission.fence is None:
                self._put_down(commission)
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        while self._commissions and time.monotonic() < self._ends:
            await asyncio.sleep(MOMENT)
        self._stopping = True
        self._wake.set()
        if self._serving is not None:
            await self._serving  # not cancelled, lest a process that is being started is forgotten
        await asyncio.gather(*(hand.dismiss(GRACE) for hand in list(self._hands.values())))
        await asyncio.gather(*self._tasks)
        for commission in list(self._commissions.values()):  # what was begun is begun anew by the next server
            self._put_down(commission)

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
        for job in sorted({entry.job for entry in self._queue.expired(time.time())}):
            await self._end(self._commissions[job], State.EXPIRED)
        for hand in self._hands.values():
            hand.leaving = False
            self._check_alive(hand)
        waiting = self._queue.models()
        for model, since in sorted(waiting.items(), key=lambda one: one[1]):
            if self._stopping:
                return
            if model in self._hands:
                await self._feed(self._hands[model])
            else:
                await self._hire(model, since)
        for model in self._resident:
            if not (waiting or self._stopping or model in self._hands):
                await self._hire(model, time.time())

    def _check_alive(self, hand: Hand) -> None:
        busy = hand.ready is None or hand.tasks
        if busy and time.monotonic() - hand.heard > self._limits.silence:
            log.error("the worker for %s said nothing for %.0f s and is ended", hand.model, self._limits.silence)
            hand.kill()

    async def _feed(self, hand: Hand) -> None:
        while (entry := self._queue.next(hand.model)) is not None and time.monotonic() >= self._pause:
            if not self._fits(hand, entry):
                return
            self._queue.take(hand.model)
            await self._give(hand, entry)

    def _fits(self, hand: Hand, entry: Entry) -> bool:
        """A job that a worker died of is drawn with no others."""
        jobs = {one.job for one in hand.tasks.values()} - {entry.job}
        apart = any(self._suspect(job) for job in {*jobs, entry.job}) and bool(jobs)
        pixels = costs.pixels(self._commissions[entry.job].job.order, hand.ready)
        return not apart and hand.takes(pixels, held=self._limits.held)

    def _suspect(self, job: str) -> bool:
        return job in self._commissions and self._commissions[job].attempts > 0

    async def _give(self, hand: Hand, entry: Entry) -> None:
        commission = self._commissions[entry.job]
        if commission.fence is None and not await self._begin(commission, entry):
            return
        if commission.over:
            return
        draw = Draw(task=f"{entry.job}/{entry.index}/{next(self._numbers)}", order=commission.job.order,
                    index=entry.index)  # fmt: skip
        if self._hands.get(hand.model) is not hand:  # it died meanwhile
            self._queue.put_back(entry)
            return
        hand.give(entry, draw, *commission.files, pixels=costs.pixels(draw.order, hand.ready))

    async def _begin(self, commission: Commission, entry: Entry) -> bool:
        """Whether it may be drawn now."""
        try:
            fence = await self._keeper.began(commission.job)
        except Exception:
            log.exception("job %s cannot be begun now", entry.job)
            self._queue.put_back(entry)
            self._pause = time.monotonic() + PAUSE
            return False
        commission.fence = fence
        if fence is None:
            self._let_go(commission)
            return False
        self._queue.begun(entry.job)
        entry.deadline = math.inf
        return True

    # -- hiring --------------------------------------------------------------------------------------

    async def _hire(self, model: str, since: float) -> None:
        record = self._records.setdefault(model, Record())
        if time.monotonic() < record.pause:
            return
        try:
            expected = record.memory or self._guess(model)
        except InputError as error:
            await self._refuse_waiting(model, str(error))
            return
        if not self._make_room(expected, since=since):
            return
        hand = await Hand.hire(model, self._command, self._load(model))
        self._hands[model] = hand
        self._go(self._attend(hand))

    def _make_room(self, wanted: int, *, since: float) -> bool:
        """Whether there is memory for one more. Idle workers leave for it, that used least first; a busy one may finish
        what it has, once others have waited long enough."""
        held = sum(self._held(hand) for hand in self._hands.values())
        if not self._hands or held + wanted <= self._limits.memory:
            return True
        if any(hand.dismissed for hand in self._hands.values()):
            return False  # soon
        idle = [hand for hand in self._hands.values() if hand.idle]
        if idle:
            least = min(idle, key=lambda hand: hand.used)
            least.dismissed = True  # from now on: it is given nothing more
            self._go(least.dismiss(GRACE))
        elif time.time() - since > self._limits.patience:
            min(self._hands.values(), key=lambda hand: hand.hired).leaving = True
        return False

    def _held(self, hand: Hand) -> int:
        if hand.memory:
            return hand.memory
        record = self._records[hand.model]
        with contextlib.suppress(InputError):
            return record.memory or self._guess(hand.model)
        return record.memory

    def _guess(self, model: str) -> int:
        """What a worker with this model may hold: its files and half as much again, and the program."""
        path = find_model(self._load(model).model)
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
        return BASE + sum(one.stat().st_size for one in files) * 3 // 2

    # -- listening to a worker -----------------------------------------------------------------------

    async def _attend(self, hand: Hand) -> None:
        try:
            async for message, blobs in hand.messages():
                await self._told(hand, message, blobs)
        except Exception:
            log.exception("the worker for %s is ended: it could not be understood", hand.model)
        await hand.end()
        await self._fell(hand)
        self._wake.set()

    async def _told(self, hand: Hand, message: FromWorker, blobs: Sequence[bytes]) -> None:
        match message:
            case Ready():
                self._is_ready(hand, message)
            case Unable(error=error, fault=fault):
                await self._is_unable(hand, error, fault)
            case Advanced():
                self._advanced(hand, message)
            case Seen(task=task):
                self._seen(hand.tasks.get(task), message, blobs[0])
            case Begun(seconds=seconds):
                self._watch.staged("text", seconds)
            case Done(task=task):
                hand.pictures += 1
                self._watch.staged("decode", message.seconds)
                await self._done(hand.done(task), hand.model, message, blobs[0])
            case Failed(task=task, error=error, fault=fault):
                await self._failed(hand.done(task), error, fault)
            case Gone(task=task):
                hand.done(task)
        if not isinstance(message, Advanced | Seen):
            self._wake.set()

    def _is_ready(self, hand: Hand, ready: Ready) -> None:
        record = self._records[hand.model]
        hand.ready, record.ready = ready, ready
        hand.memory = record.memory = ready.memory
        log.info("%s is ready after %.1f s, with room for %d pixels", hand.model, ready.seconds, ready.room)

    async def _is_unable(self, hand: Hand, error: str, fault: bool) -> None:
        if fault:
            log.error("the worker for %s could not load it: error %s", hand.model, error)
            return
        hand.refused = True
        await self._refuse_waiting(hand.model, error)

    def _advanced(self, hand: Hand, step: Advanced) -> None:
        hand.memory = self._records[hand.model].memory = step.memory
        if not step.places:
            return
        hand.steps += len(step.places)
        hand.together = len(step.places)
        self._batches[hand.together] += 1
        self._queue.rate.add(step.work, step.seconds)
        self._watch.staged("denoise", step.seconds)
        for at in step.places:
            self._progress(hand.tasks.get(at.task), at)

    def _progress(self, entry: Entry | None, at: At) -> None:
        if (commission := self._wanted(entry)) is not None and entry is not None:
            commission.tell(Progress(index=entry.index, step=at.step, steps=at.steps))

    def _seen(self, entry: Entry | None, seen: Seen, pixels: bytes) -> None:
        if (commission := self._wanted(entry)) is not None and entry is not None:
            commission.tell(
                Preview(
                    index=entry.index, step=seen.step, steps=seen.steps, pixels=pixels, size=seen.size,
                    settings=seen.settings,
                )
            )  # fmt: skip

    async def _done(self, entry: Entry | None, model: str, done: Done, pixels: bytes) -> None:
        self._records[model].row = 0
        self._pictures += 1
        commission = self._wanted(entry)
        if commission is None or entry is None or commission.fence is None:
            return
        try:
            kept = await self._keeper.drawn(
                commission.job, commission.fence, entry.index, pixels, done.size, done.settings
            )
        except Exception:
            number = _logged(f"a picture of job {entry.job} could not be kept")
            await self._end(commission, State.FAILED, f"the picture could not be kept (error {number})")
            return
        if kept is None:
            self._let_go(commission)
            return
        commission.left.discard(entry.index)
        if not commission.over:
            commission.tell(kept)
            if not commission.left:
                await self._end(commission, State.DONE)

    async def _failed(self, entry: Entry | None, error: str, fault: bool) -> None:
        if (commission := self._wanted(entry)) is not None:
            line = f"it could not be drawn (error {error})" if fault else error
            await self._end(commission, State.FAILED if fault else State.REFUSED, line)

    def _wanted(self, entry: Entry | None) -> Commission | None:
        commission = None if entry is None else self._commissions.get(entry.job)
        return None if commission is None or commission.over else commission

    # -- when a worker is gone -----------------------------------------------------------------------

    async def _fell(self, hand: Hand) -> None:
        """Jobs that it was drawing are handed back, once each."""
        del self._hands[hand.model]
        lost: dict[str, list[Entry]] = {}
        for entry in hand.tasks.values():
            lost.setdefault(entry.job, []).append(entry)
        if not (hand.dismissed or hand.refused):
            await self._count_fall(hand)
        for job, entries in lost.items():
            commission = self._commissions.get(job)
            if commission is not None and not commission.over and not hand.dismissed:
                await self._lost(commission, entries)

    async def _count_fall(self, hand: Hand) -> None:
        record, limits = self._records[hand.model], self._limits
        record.falls, record.row = record.falls + 1, record.row + 1
        pause = min(limits.longest, limits.backoff * 2.0 ** (record.row - 1))
        record.pause = time.monotonic() + pause
        code = hand.process.returncode
        log.error("the worker for %s died (%s), %d in a row; the next in %.1f s", hand.model, code, record.row, pause)
        if record.row >= limits.falls:
            line = f"what draws with {hand.model} breaks off again and again: try again later"
            await self._end_waiting(hand.model, State.FAILED, line)

    async def _lost(self, commission: Commission, entries: list[Entry]) -> None:
        assert commission.fence is not None
        commission.attempts += 1
        fence, commission.fence = commission.fence, None
        again = await self._safely(self._keeper.lost(commission.job, fence))
        if commission.over:
            return
        row = self._records[entries[0].model].row
        if not again or commission.attempts >= self._limits.attempts or row >= self._limits.falls:
            commission.fence = fence
            times = "once" if commission.attempts == 1 else f"{commission.attempts} times"
            await self._end(commission, State.FAILED, f"what drew it broke off, {times}: try again later")
            return
        for entry in reversed(entries):
            self._queue.put_back(entry)

    # -- ends of jobs --------------------------------------------------------------------------------

    async def _refuse_waiting(self, model: str, error: str) -> None:
        log.error("%s cannot be loaded: %s", model, error)  # which may name a folder, and is for us
        await self._end_waiting(model, State.FAILED, f"{model} cannot be loaded now")

    async def _end_waiting(self, model: str, state: State, error: str) -> None:
        jobs = {entry.job for entry in self._queue if entry.model == model}
        for job in sorted(jobs):
            await self._end(self._commissions[job], state, error)

    async def _end(self, commission: Commission, state: State, error: str | None = None) -> None:
        """For good, told to the keeper first and then to who listens."""
        if commission.over:
            return
        self._withdraw(commission)
        try:
            await self._keeper.ended(commission.job, commission.fence, state, error)
        except Exception:
            log.exception("the end of job %s could not be kept", commission.job.id)
        self._say_over(commission, Over(state=state, error=error))

    def _withdraw(self, commission: Commission) -> None:
        """It is over: none of its pictures is drawn any further."""
        commission.over = True
        job = commission.job.id
        self._queue.drop(job)
        for hand in self._hands.values():
            for task in [task for task, entry in hand.tasks.items() if entry.job == job]:
                hand.say(Cancel(task=task))

    def _let_go(self, commission: Commission) -> None:
        """Its keeper wants it no more, and knows."""
        self._withdraw(commission)
        self._say_over(commission, Over(state=State.CANCELLED))

    def _put_down(self, commission: Commission) -> None:
        """It is still to be drawn, by somebody else."""
        commission.over = True
        self._queue.drop(commission.job.id)
        self._say_over(commission, Over(state=State.QUEUED))

    def _say_over(self, commission: Commission, over: Over) -> None:
        self._commissions.pop(commission.job.id, None)
        self._over[commission.job.id] = over
        while len(self._over) > REMEMBERED:
            self._over.popitem(last=False)
        commission.tell(over)
        self._wake.set()

    # -- small things --------------------------------------------------------------------------------

    def _entry(self, job: Job, index: int) -> Entry:
        record = self._records.get(job.order.model)
        work = costs.work(job.order, None if record is None else record.ready)
        return Entry(job.id, index, job.key, job.order.model, work, deadline=job.deadline, since=time.time())

    def _go(self, work: Awaitable[Any]) -> None:
        """As a task that is held until it is done."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _safely(self, work: Awaitable[bool]) -> bool:
        try:
            return await work
        except Exception:
            log.exception("the keeper failed")
            return True


def _logged(what: str) -> str:
    """The number under which the log has the exception at hand."""
    number = secrets.token_hex(4)
    log.exception("error %s: %s", number, what)
    return number


def _working(hand: Hand) -> Working:
    ready = hand.ready
    return Working(
        model=hand.model, pid=hand.process.pid, ready=ready is not None,
        seconds=0.0 if ready is None else ready.seconds, memory=hand.memory, room=0 if ready is None else ready.room,
        drawing=len(hand.tasks), together=hand.together, steps=hand.steps, pictures=hand.pictures,
    )  # fmt: skip
