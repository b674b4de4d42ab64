"""A process that has imported torch already and forks one training run for each line it reads.

Run as a script: a line of JSON on stdin is a run; its answer is the child's number, and, when it has ended, its
exit code. So a test kills real processes without waiting seconds for each to start.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # before the fork, as all that takes long
import torch.utils.tensorboard

from limner.core import InputError
from limner.train.loop import fit
from limner.train.signals import interruptions
from tests.train.nurslings import TOY, born, food
from tests.train.toys import Noise, recipe


class Nursery:
    """The test's end of it."""

    def __init__(self) -> None:
        self.running: int | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.train.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip

    def start(self, folder: Path, **order: Any) -> int:
        """Begin a run in `folder` and return its process's number. Its saves and errors go to files beside it."""
        self._send({"folder": str(folder), **order})
        self.running = self._receive()
        return self.running

    def wait(self) -> int:
        """The exit code of the run, or minus the signal that ended it."""
        self.running = None
        return self._receive()

    def reap(self) -> None:
        """Kill what a failed test has left running."""
        if self.running is not None:
            os.kill(self.running, signal.SIGKILL)
            self.wait()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _send(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def _receive(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def saves(folder: Path) -> list[int]:
    """The images at each checkpoint that the runs in `folder` have reported as written."""
    file = folder.with_suffix(".saves")
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def errors(folder: Path) -> str:
    file = folder.with_suffix(".errors")
    return file.read_text() if file.exists() else ""


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            run(Path(order.pop("folder")), **order)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def run(
    folder: Path, *, resume: bool, train: dict[str, Any], pause: float, largest: int | None = None, name: str = TOY
) -> None:
    """As `limner train` does it: signals, exit codes, one line for an error. `pause` seconds to each iteration.

    From the first iteration on no file may grow beyond `largest` bytes. `name` is a family's, or the toy's.
    """
    os.dup2(os.open(folder.with_suffix(".errors"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    reports = os.open(folder.with_suffix(".saves"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    settings = recipe(**train)
    settings = replace(settings, optimizer=replace(settings.optimizer, decay=0.0))
    family = born(name)
    learn, check = (Noise(), Noise(1)) if name == TOY else (food(family, "train"), food(family, "seen"))
    code = 0
    try:
        with interruptions() as stop:
            for report in fit(family, learn, check, settings, folder, resume=resume, stop=stop):
                if largest is not None:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
                if report.checkpoint is not None:
                    os.write(reports, f"{report.images}\n".encode())
                time.sleep(pause)
    except (InputError, OSError) as error:
        print(f"limner: {error}", file=sys.stderr, flush=True)
        code = 2
    os._exit(code)


if __name__ == "__main__":
    main()
