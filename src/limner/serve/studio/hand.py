"""One worker as its crew sees it: a process that is started, spoken to, listened to and ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence

from limner.serve.studio import wire
from limner.serve.studio.messages import Advanced, Draw, FromWorker, Load, Ready, Stop, ToWorker, framed, unframed
from limner.serve.studio.queue import Entry
from limner.serve.studio.standing import Working

CHUNK = 1 << 16
LAST_WORDS = 1.0  # seconds for what a worker that is gone has still said

log = logging.getLogger(__name__)


class Hand:
    """`tasks` are the pictures that it was given. `leaving`: it is given no more for now; `dismissed`: it was told to
    stop; `gone`: nobody listens to it any more. `since` is when it was hired and then when it was ready, `used` when it
    had something to draw. `faults` counts pictures in a row that failed by its own fault."""

    def __init__(self, model: str, process: asyncio.subprocess.Process) -> None:
        self.model, self.process = model, process
        self.ready: Ready | None = None
        self.tasks: dict[str, Entry] = {}
        self._sizes: dict[str, int] = {}  # pixels of its tasks
        self.leaving = self.dismissed = False
        self.since = self.used = self._heard = time.monotonic()
        self.memory = self.faults = self.pictures = 0
        self._together = self._steps = 0
        self._gone = asyncio.Event()
        self._relaying = asyncio.create_task(self._relay())

    @staticmethod
    async def hire(model: str, command: Sequence[str], load: Load) -> Hand:
        """A process that begins to load; what it writes to its errors goes into our log. OSError where there is none to
        be had."""
        pipe = asyncio.subprocess.PIPE
        # A session of its own: an interrupt at the terminal is ours to answer.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )  # fmt: skip
        hand = Hand(model, process)
        hand.say(load)
        return hand

    # -- its work ------------------------------------------------------------------------------------

    @property
    def gone(self) -> bool:
        return self._gone.is_set()

    @property
    def idle(self) -> bool:
        return self.ready is not None and not self.tasks

    def silent(self, seconds: float) -> bool:
        """Whether it has something to do and has said nothing for so long."""
        return not self.idle and time.monotonic() - self._heard > seconds

    @property
    def open(self) -> bool:
        """Whether it may be given anything."""
        return self.ready is not None and not (self.leaving or self.dismissed or self.gone)

    def takes(self, pixels: int, *, held: float) -> bool:
        """Whether it may be given so many pixels more, to have `held` times what it draws at once to choose from."""
        if not self.open or self.ready is None:
            return False
        return not self.tasks or sum(self._sizes.values()) + pixels <= held * self.ready.room

    def give(self, entry: Entry, draw: Draw, *files: bytes, pixels: int) -> None:
        """WireError where it is too much to be said: then nothing was given."""
        self.say(draw, *files)
        self.used = time.monotonic()
        if not self.tasks:
            self._heard = self.used  # until now it had nothing to say
        self.tasks[draw.task], self._sizes[draw.task] = entry, pixels

    def done(self, task: str) -> Entry | None:
        """It draws this no more."""
        self.used = time.monotonic()
        self._sizes.pop(task, None)
        return self.tasks.pop(task, None)

    def is_ready(self, ready: Ready) -> None:
        self.ready, self.memory, self.since = ready, ready.memory, time.monotonic()

    def advanced(self, step: Advanced) -> None:
        self.memory = step.memory
        if step.places:
            self._together = len(step.places)
            self._steps += self._together

    @property
    def standing(self) -> Working:
        ready = self.ready
        return Working(
            model=self.model, pid=self.process.pid, ready=ready is not None and not self.dismissed,
            seconds=0.0 if ready is None else ready.seconds, memory=self.memory,
            room=0 if ready is None else ready.room, drawing=len(self.tasks), together=self._together,
            steps=self._steps, pictures=self.pictures,
        )  # fmt: skip

    # -- its process ---------------------------------------------------------------------------------

    def say(self, message: ToWorker, *blobs: bytes) -> None:
        """Nobody waits for it to be read, and nothing is raised where it is dead: who listens to it will know. A worker
        reads at all times, and what it is sent is in memory anyhow."""
        assert self.process.stdin is not None
        data = wire.packed(framed(message, *blobs))
        if self.process.returncode is None and not self.gone:
            self.process.stdin.write(data)

    async def messages(self) -> AsyncIterator[tuple[FromWorker, Sequence[bytes]]]:
        """All that it says until it dies; WireError where that is no message."""
        assert self.process.stdout is not None
        while (frame := await wire.receive(self.process.stdout)) is not None:
            message, blobs = unframed(frame)
            if not isinstance(message, FromWorker):
                raise wire.WireError(f"a worker does not say {frame.kind}")
            self._heard = time.monotonic()
            yield message, blobs

    async def dismiss(self, grace: float) -> None:
        """Asked to leave; after `grace` seconds made to. One that still loads would not hear it."""
        self.dismissed = True
        self.say(Stop())
        if self.ready is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._gone.wait(), grace)
        self.kill()

    def kill(self) -> None:
        """With all that it has started itself."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """By who listened to it: no process is left, and none of its pipes."""
        self._gone.set()
        self.kill()
        assert self.process.stdin is not None
        self.process.stdin.close()
        with contextlib.suppress(TimeoutError):  # a pipe that somebody else holds, too, may never end
            await asyncio.wait_for(self._ended(), LAST_WORDS)
        self._relaying.cancel()

    async def _ended(self) -> None:
        assert self.process.stdout is not None
        while await self.process.stdout.read(CHUNK):
            pass
        await asyncio.wait({self._relaying})
        await self.process.wait()

    async def _relay(self) -> None:
        """Into the log, line by line."""
        while line := await self._line():
            log.warning("%s", line.decode(errors="replace").rstrip(), extra={"about": {"model": self.model}})

    async def _line(self) -> bytes:
        assert self.process.stderr is not None
        try:
            return await self.process.stderr.readline()
        except ValueError:
            return b"(a line that was too long)"
