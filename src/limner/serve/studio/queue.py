"""Pictures that wait for a worker: bounded, fair between keys, and gone when their time has passed.

Start-time fair queueing (Goyal, Vin and Cheng 1996): each key has a clock that goes on by the work of what it was
given, and the next picture is of the key whose clock is furthest behind. A key that comes anew starts at the clock of
what was given last, so that nobody saves up by staying away. What is cancelled while it waits has cost its key nothing.
Work is steps times pixels.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from limner.serve.faults import Full

MOST_WAIT = 3600  # seconds that anybody is told to wait
FIRST_WAIT = 5  # seconds, where nothing was drawn yet from which to tell
HALF = 60.0  # seconds of drawing after which a measurement counts half

Key = int | None


@dataclass(slots=True, eq=False)
class Entry:
    """Picture `index` of a job. After `deadline`, in seconds of any clock, it is not begun any more. `since` is when it
    came, by another."""

    job: str
    index: int
    key: Key
    model: str
    work: float
    deadline: float = math.inf
    since: float = 0.0


Ready = Callable[[Entry], bool]


@dataclass(slots=True)
class Rate:
    """Work done in a second of drawing; what is long ago counts less."""

    work: float = 0.0
    seconds: float = 0.0

    def add(self, work: float, seconds: float) -> None:
        fading = 0.5 ** (seconds / HALF)
        self.work, self.seconds = self.work * fading + work, self.seconds * fading + seconds

    @property
    def value(self) -> float | None:
        return self.work / self.seconds if self.work > 0.0 and self.seconds > 0.0 else None


@dataclass(slots=True)
class Line:
    """What one key has waiting, in order, and its clock."""

    clock: float
    entries: deque[Entry] = field(default_factory=deque)

    def first(self, model: str, ready: Ready) -> Entry | None:
        return next((one for one in self.entries if one.model == model and ready(one)), None)


class Queue:
    """At most `most` pictures should wait in it."""

    def __init__(self, most: int) -> None:
        self.most, self.rate = most, Rate()
        self._lines: dict[Key, Line] = {}
        self._now = 0.0  # the clock of what was given last

    def __len__(self) -> int:
        return sum(len(line.entries) for line in self._lines.values())

    def __iter__(self) -> Iterator[Entry]:
        return (entry for line in self._lines.values() for entry in line.entries)

    def put(self, entries: list[Entry]) -> None:
        """Whether there is room for them or not: see `check`."""
        for entry in entries:
            self._line(entry.key).entries.append(entry)

    def check(self, count: int) -> None:
        """Full where so many more have no room."""
        waiting = len(self)
        if waiting + count > self.most:
            raise Full(waiting, self.wait(waiting + count - self.most))

    def wait(self, places: int) -> int:
        """In how many seconds so many of those who wait should have been given out."""
        rate = self.rate.value
        if rate is None:
            return FIRST_WAIT
        mean = sum(entry.work for entry in self) / max(1, len(self))
        return min(MOST_WAIT, max(1, math.ceil(places * mean / rate)))

    def put_back(self, entry: Entry) -> None:
        """It was given out in vain: it comes first again among its key's, and has cost nothing."""
        line = self._line(entry.key)
        line.entries.appendleft(entry)
        line.clock -= entry.work

    def take(self, entry: Entry) -> None:
        """It is given out: off the queue."""
        line = self._lines[entry.key]
        line.entries.remove(entry)
        self._now = max(self._now, line.clock)
        line.clock += entry.work
        self._forget()

    def next(self, model: str, ready: Ready = lambda entry: True) -> Entry | None:
        """The next picture for the model's worker, of those that are ready."""
        firsts = [(line.clock, number, line.first(model, ready)) for number, line in enumerate(self._lines.values())]
        return min((one for one in firsts if one[2] is not None), key=lambda one: one[:2], default=(0, 0, None))[2]

    def models(self) -> dict[str, float]:
        """Those that pictures wait for, each with the time since which the first of them does."""
        found: dict[str, float] = {}
        for entry in self:
            found[entry.model] = min(entry.since, found.get(entry.model, math.inf))
        return found

    def expired(self, now: float) -> list[Entry]:
        """Those whose time has passed, off the queue."""
        return self._take_all(lambda entry: entry.deadline <= now)

    def drop(self, job: str) -> list[Entry]:
        """All of a job, off the queue."""
        return self._take_all(lambda entry: entry.job == job)

    def begun(self, entry: Entry) -> None:
        """Its job was: no deadline holds for it, nor for others of its job."""
        for one in (entry, *self):
            if one.job == entry.job:
                one.deadline = math.inf

    def _line(self, key: Key) -> Line:
        line = self._lines.setdefault(key, Line(self._now))
        if not line.entries:
            line.clock = max(line.clock, self._now)
        return line

    def _take_all(self, wanted: Callable[[Entry], bool]) -> list[Entry]:
        taken = [entry for entry in self if wanted(entry)]
        for entry in taken:
            self._lines[entry.key].entries.remove(entry)
        self._forget()
        return taken

    def _forget(self) -> None:
        """Keys that have nothing waiting and would begin anew at the same clock."""
        for key in [key for key, line in self._lines.items() if not line.entries and line.clock <= self._now]:
            del self._lines[key]
