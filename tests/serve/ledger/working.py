"""A server's work on a ledger, without the server: made to be killed at any moment.

Reads URLs, works on each in a process of its own until that is killed, and tells what each call returned.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
import time

from limner.serve.ledger import Ledger
from limner.serve.orders import Drawn, Order, State

COUNT = 3  # pictures of an order
AHEAD = 4  # jobs that wait


def digest(job_id: str, index: int, fence: int) -> str:
    return hashlib.sha256(f"{job_id} {index} {fence}".encode()).hexdigest()


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())  # in one piece, also from several threads


class Work:
    def __init__(self, url: str) -> None:
        self.ledger = Ledger.open(url)
        self.waiting = [job.id for job in self.ledger.recover()]
        self.random = random.Random(os.getpid())
        for job_id in self.waiting:
            say("recovered", job_id)

    def accept(self) -> None:
        number = 0
        while True:
            if len(self.waiting) >= AHEAD:
                time.sleep(0.001)
                continue
            number += 1
            order = Order(model="tiny", prompt=f"number {number}", seed=number, count=COUNT)
            given = (f"{os.getpid()} {number}", "body")
            job, new = self.ledger.accept(order, key=None, deadline=time.time() + 3600, idempotency=given)
            say("accepted", job.id, new)
            self.waiting.append(job.id)

    def draw(self) -> None:
        while True:
            if self.waiting:
                self.draw_one(self.waiting[0])
                self.waiting.pop(0)
            else:
                time.sleep(0.001)

    def draw_one(self, job_id: str) -> None:
        fence = self.ledger.begin(job_id)
        say("begun", job_id, fence)
        assert fence is not None
        if fence == 1 and self.random.random() < 0.2 and self.ledger.requeue(job_id, fence):
            say("requeued", job_id, fence)
            assert not self.ledger.end(job_id, fence, State.DONE)
            return self.draw_one(job_id)
        job = self.ledger.get(job_id)
        assert job is not None
        for index in set(range(COUNT)) - {one.index for one in job.drawn}:
            picture = Drawn(index=index, digest=digest(job_id, index, fence), settings={})
            if self.ledger.add(job_id, fence, picture):
                say("added", job_id, index, fence)
        if self.ledger.end(job_id, fence, State.DONE):
            say("ended", job_id, fence)
        return None


def work(url: str) -> None:
    here = Work(url)
    threading.Thread(target=here.accept, daemon=True).start()
    here.draw()


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()  # of what is imported already, which takes longer than the work
        if pid == 0:
            try:
                work(line.strip())
            finally:
                os._exit(1)
        say("started", pid)
        _, status = os.waitpid(pid, 0)
        say("stopped", os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
