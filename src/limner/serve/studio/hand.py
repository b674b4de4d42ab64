"""One worker as the studio sees it: a process that is started, spoken to, listened to and ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence

from limner.serve.studio import wire
from limner.serve.studio.messages import Draw, FromWorker, Load, Ready, Stop, ToWorker, framed, unframed
from limner.serve.studio.queue import Entry

CHUNK = 1 << 16
LAST_WORDS = 1.0  # seconds for what a worker that is gone has still said

log = logging.getLogger(__name__)


class Hand:
    """`tasks` are the pictures that it was given. `leaving`: it is given no more; `dismissed`: it was told to stop."""

    def __init__(self, model: str, process: asyncio.subprocess.Process) -> None:
        self.model, self.process = model, process
        self.ready: Ready | None = None
        self.tasks: dict[str, Entry] = {}
        self.sizes: dict[str, int] = {}  # pixels of its tasks
        self.leaving = self.dismissed = self.refused = False
        self.hired = self.heard = self.used = time.monotonic()
        self.memory = self.together = self.steps = self.pictures = 0
        self._relaying = asyncio.create_task(self._relay())

    @staticmethod
    async def hire(model: str, command: Sequence[str], load: Load) -> Hand:
        """A process that begins to load; what it writes to its errors goes into our log."""
        pipe = asyncio.subprocess.PIPE
        # A session of its own: an interrupt at the terminal is ours to answer.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )  # fmt: skip
        hand = Hand(model, process)
        hand.say(load)
        return hand

    @property
    def idle(self) -> bool:
        return self.ready is not None and not self.tasks

    def takes(self, pixels: int, *, held: float) -> bool:
        """Whether it may be given so many pixels more, to have `held` times what it draws at once to choose from."""
        if self.ready is None or self.leaving or self.dismissed:
            return False
        return not self.tasks or sum(self.sizes.values()) + pixels <= held * self.ready.room

    def give(self, entry: Entry, draw: Draw, *files: bytes, pixels: int) -> None:
        self.tasks[draw.task], self.sizes[draw.task] = entry, pixels
        self.used = time.monotonic()
        self.say(draw, *files)

    def done(self, task: str) -> Entry | None:
        """It draws this no more."""
        self.used = time.monotonic()
        self.sizes.pop(task, None)
        return self.tasks.pop(task, None)

    def say(self, message: ToWorker, *blobs: bytes) -> None:
        """Nobody waits for it to be read, and nothing is raised where it is dead: who listens to it will know. A worker
        reads at all times, and what it is sent is in memory anyhow."""
        assert self.process.stdin is not None
        if self.process.returncode is None:
            self.process.stdin.write(wire.packed(framed(message, *blobs)))

    async def messages(self) -> AsyncIterator[tuple[FromWorker, Sequence[bytes]]]:
        """All that it says until it dies; WireError where that is no message."""
        assert self.process.stdout is not None
        while (frame := await wire.receive(self.process.stdout)) is not None:
            message, blobs = unframed(frame)
            if not isinstance(message, FromWorker):
                raise wire.WireError(f"a worker does not say {frame.kind}")
            self.heard = time.monotonic()
            yield message, blobs

    async def dismiss(self, grace: float) -> None:
        """Asked to leave; after `grace` seconds made to."""
        self.dismissed = True
        self.say(Stop())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), grace)
        await self.end()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def end(self) -> None:
        """No process is left, and none of its pipes."""
        self.kill()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        with contextlib.suppress(RuntimeError):  # somebody else reads it to its end
            while await self.process.stdout.read(CHUNK):
                pass
        await self.process.wait()
        await asyncio.wait({self._relaying}, timeout=LAST_WORDS)
        self._relaying.cancel()

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
