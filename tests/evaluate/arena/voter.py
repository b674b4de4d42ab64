"""A process that forks one voter for each file it reads the name of, so that a test can kill real processes quickly.

Its answers are lines: "born PID", then what the voter says, and "dead STATUS". A voter casts votes without end and says
"TOKEN CHOICE" of each when the vote is cast.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

from limner.evaluate.arena.votes import Votes


class Voters:
    """The test's end of it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.evaluate.arena.voter"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, cwd=Path(__file__).parents[3], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip

    def start(self, path: Path) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        born, number = self.line()
        assert born == "born"
        return int(number)

    def line(self) -> list[str]:
        assert self._process.stdout is not None
        return self._process.stdout.readline().split()

    def close(self) -> None:
        self._process.communicate()


def vote(path: Path) -> None:
    votes = Votes(path)
    session = votes.begin()
    for choice in itertools.cycle(("left", "tie", "right")):
        token = votes.show(1, 2)
        votes.cast(session, token, choice)  # type: ignore[arg-type]
        os.write(1, f"{token} {choice}\n".encode())


def main() -> None:
    for line in sys.stdin:
        number = os.fork()
        if not number:
            vote(Path(line.strip()))
        os.write(1, f"born {number}\n".encode())
        _, status = os.waitpid(number, 0)
        os.write(1, f"dead {os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    main()
