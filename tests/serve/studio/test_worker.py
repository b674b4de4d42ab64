"""The worker as a process: it draws, leaves with its studio and not with anybody's signals, and refuses in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limner.serve.orders import Order
from limner.serve.studio import wire
from limner.serve.studio.crew import COMMAND
from limner.serve.studio.messages import (
    Advanced,
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
    Stop,
    ToWorker,
    Unable,
    framed,
    unframed,
)

ORDER = Order(model="small", prompt="a red square", seed=1, knobs={"steps": 4}, previews=1)


class Worker:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def say(self, *messages: ToWorker) -> None:
        assert self.process.stdin is not None
        for message in messages:
            wire.write(self.process.stdin, framed(message))

    def hear(self) -> FromWorker | None:
        assert self.process.stdout is not None
        frame = wire.read(self.process.stdout)
        if frame is None:
            return None
        message, _ = unframed(frame)
        assert isinstance(message, FromWorker)
        return message

    def until(self, *kinds: type[FromWorker]) -> list[FromWorker]:
        """All that it says up to one of a kind."""
        heard: list[FromWorker] = []
        while not heard or not isinstance(heard[-1], kinds):
            message = self.hear()
            assert message is not None, heard
            heard.append(message)
        return heard


@contextmanager
def working(model: str | Path) -> Iterator[Worker]:
    """Which is gone at the end, with what it wrote to its errors."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        try:
            found = Worker(process)
            found.say(Load(model=str(model), together=2))
            yield found
        finally:
            process.kill()


def test_it_draws_whatever_signals_come_and_leaves_with_its_studio(model: str) -> None:
    with working(model) as worker:
        [ready] = worker.until(Ready)
        assert isinstance(ready, Ready)
        assert (ready.name, ready.family, ready.redraws) == ("small", "flow", True)
        assert ready.room == 2 * ready.own**2
        assert ready.memory > 50 << 20
        for number in (signal.SIGINT, signal.SIGTERM):
            worker.process.send_signal(number)
        worker.say(Draw(task="a", order=ORDER, index=0))
        kinds = [type(one) for one in worker.until(Done)]
        assert kinds == [Begun, Advanced, Advanced, Seen, Advanced, Advanced, Done]
        worker.say(Draw(task="bad", order=Order(model="small", prompt="a", seed=1, knobs={"steps": 0}), index=0))
        failed = worker.until(Failed)[-1]
        assert isinstance(failed, Failed)
        assert not failed.fault
        long = Order(model="small", prompt="a", seed=1, knobs={"steps": 1000})
        worker.say(Draw(task="gone", order=long, index=0), Draw(task="long", order=long, index=0))
        worker.until(Advanced)
        worker.say(Cancel(task="gone"))
        worker.until(Gone)
        steps = [worker.until(Advanced)[-1] for _ in range(3)]
        assert all([at.task for at in one.places] == ["long"] for one in steps if isinstance(one, Advanced))
        assert worker.process.stdin is not None
        worker.process.stdin.close()  # as when the studio was killed
        assert worker.process.wait(5) == 0


def test_it_leaves_when_it_is_told_to(model: str) -> None:
    with working(model) as worker:
        worker.until(Ready)
        worker.say(Stop())
        assert worker.hear() is None
        assert worker.process.wait(5) == 0


def test_a_model_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with working(tmp_path) as worker:
        unable = worker.hear()
        assert isinstance(unable, Unable)
        assert not unable.fault
        assert "\n" not in unable.error
        assert str(tmp_path) in unable.error
        assert worker.hear() is None
        assert worker.process.stderr is not None
        assert worker.process.stderr.read() == b""


def test_what_is_no_message_ends_it(model: str) -> None:
    with working(model) as worker:
        assert worker.process.stdin is not None
        worker.process.stdin.write(b"hello, this was typed\n")
        worker.process.stdin.flush()
        assert worker.process.wait(20) == 1
        assert worker.process.stderr is not None
        assert b"WireError" in worker.process.stderr.read()
