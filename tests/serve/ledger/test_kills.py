"""A server that is killed at any moment, again and again: nothing that was accepted is lost, and nothing done twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise

from limner.serve.ledger import Ledger
from limner.serve.orders import State
from tests.serve.ledger.places import Place
from tests.serve.ledger.working import COUNT, Work, digest

KILLS = int(os.environ.get("LIMNER_KILLS", "10"))  # make stress asks for more
LONGEST = 150  # things that a server has told when it is killed


class Nursery:
    """Where servers are started and killed; `said` has what each told, in order."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.said: list[list[list[str]]] = []

    def one_life(self, url: str, things: int, seconds: float) -> None:
        """Killed so many seconds after it told so many things."""
        assert self._process.stdin
        self._process.stdin.write(url + "\n")
        self._process.stdin.flush()
        said: list[list[str]] = []
        while not said or said[-1][0] != "stopped":
            said.append(self._line())
            if len(said) == 1 + things:
                time.sleep(seconds)
                os.kill(int(said[0][1]), signal.SIGKILL)
        assert said[-1] == ["stopped", "-9"], said  # and did not break off by itself
        self.said.append(said)

    def told(self, what: str) -> Iterator[list[str]]:
        return (line[1:] for life in self.said for line in life if line[0] == what)

    def _line(self) -> list[str]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the nursery has ended"
        return line.split()


@contextmanager
def nursery() -> Iterator[Nursery]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.serve.ledger.working"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:  # fmt: skip
        try:
            yield Nursery(process)
        finally:
            process.stdin.close()  # type: ignore[union-attr]
            process.wait()


def test_killed_at_any_moment_nothing_is_lost_or_done_twice(place: Place) -> None:
    with nursery() as servers:
        for number in range(KILLS):
            choose = random.Random(number)
            things = choose.randint(1, LONGEST) if number % 4 else 0  # 0: while it opens the ledger, and recovers
            servers.one_life(place.url, things, choose.uniform(0, 0.003 if things else 0.15))
    with closing(Ledger.open(place.url)) as ledger:
        done_before = {job.id for job in ledger.of_key(None, 10**6) if job.state is State.DONE}
        finish(ledger)
        jobs = {job.id: job for job in ledger.of_key(None, 10**6)}
    accepted = [job_id for job_id, new in servers.told("accepted") if new == "True"]
    ended = [job_id for job_id, _ in servers.told("ended")]
    assert len(accepted) > 5 * KILLS
    assert len(ended) > 3 * KILLS
    assert set(accepted) <= jobs.keys()
    assert set(ended) <= done_before
    assert max(Counter(accepted).values()) == max(Counter(ended).values()) == 1
    assert max(Counter(map(tuple, servers.told("begun"))).values()) == 1
    for job in jobs.values():
        assert job.state is State.DONE
        assert [one.index for one in job.drawn] == list(range(COUNT))
    for job_id, index, fence in servers.told("added"):
        assert jobs[job_id].drawn[int(index)].digest == digest(job_id, int(index), int(fence))
    assert_what_ended_stays_so(servers)


def assert_what_ended_stays_so(servers: Nursery) -> None:
    """No server finds work that one before it had ended, and each finds what was left, in order of acceptance."""
    ended: set[str] = set()
    some = 0
    for before, after in pairwise(servers.said):
        ended |= {line[1] for line in before if line[0] == "ended"}
        left = [line[1] for line in before if line[0] in ("recovered", "accepted") and line[1] not in ended]
        found = [line[1] for line in after if line[0] == "recovered"]
        if "recovered" in {line[0] for line in after}:
            assert not ended & set(found)
            some += len(found)
            told = [job_id for job_id in found if job_id in left]
            assert told == [job_id for job_id in left if job_id in found]
    assert some > 0


def finish(ledger: Ledger) -> None:
    work = Work.__new__(Work)
    work.ledger, work.random = ledger, random.Random(0)
    for job in ledger.recover():
        work.draw_one(job.id)
    assert ledger.unfinished() == []
