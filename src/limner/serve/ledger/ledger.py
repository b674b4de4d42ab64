"""Jobs: what was accepted is written down, is given out, and comes to an end once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from limner.core import check
from limner.serve.ledger import repeats, rows
from limner.serve.ledger.database import Database
from limner.serve.ledger.history import History
from limner.serve.ledger.keys import Keys
from limner.serve.ledger.tables import OPEN, drawn, jobs
from limner.serve.ledger.tables import repeats as repeated
from limner.serve.orders import ATTEMPTS, Drawn, Job, Order, State

DIED = "what drew this broke off, more than once; it may be tried again"


class Ledger:
    """The jobs, and the `keys` that they come with. For any number of threads.

    Any method raises Unavailable where the machine is at fault, and works again when that is over. Whether it was
    written then is not known, and `accept` with an idempotency, `add`, `end` and `cancel` may simply be called again.
    After `begin`, a job that is running though nobody draws it was begun: `requeue` it with the fence that it has.
    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock
        self.keys, self.history = Keys(database, clock), History(database)

    @classmethod
    def open(cls, url_or_path: str | Path, clock: Callable[[], float] = time.time) -> Self:
        """The ledger in this SQLite file, made if there is none, or at this URL (postgresql://user:password@host/name).

        For one server at a time, until it is closed; who only looks after keys opens `Keys`. InputError where another
        server works on it, where it is another program's, or of a newer version, or cannot be reached or written.
        """
        database = Database.open(url_or_path)
        try:
            database.take()
        except BaseException:
            database.close()
            raise
        return cls(database, clock)

    def close(self) -> None:
        self._database.close()

    # -----------------------------------------------------------------------------------------------
    # A job's way.

    def accept(
        self, order: Order, *, key: int | None, deadline: float, idempotency: tuple[str, str] | None = None
    ) -> tuple[Job, bool]:
        """The job of this order, on the disk, and whether it is new.

        `deadline` is when it is too late to begin, in seconds since 1970. `idempotency` is an Idempotency-Key and a
        digest of the request's body: for 24 hours the same of the same API key are the same job. Reused where the body
        is another; InputError where the order cannot be written as JSON and read again.
        """
        check(not math.isnan(deadline), "the deadline is no number")
        text = rows.written("order", order)
        order = rows.order(text)  # as it will be read: what cannot be is not accepted
        with self._database.writing() as connection:
            now = self._clock()
            if idempotency and (earlier := repeats.find(connection, key, idempotency, now)):
                return earlier, False
            job = Job(
                id=rows.new_id(), order=order, key=key, state=State.QUEUED, fence=0, accepted=now,
                deadline=deadline,
            )  # fmt: skip
            number = _insert(connection, job, text)
            if idempotency:
                repeats.note(connection, key, idempotency, number, now)
        return job, True

    def begin(self, job_id: str) -> int | None:
        """Give a queued job out to be drawn: the fence of who draws it. None if it is not queued, or is too late."""
        with self._database.writing() as connection:
            _expire(connection, self._clock(), rows.called(job_id))
            return connection.scalar(
                update(jobs)
                .where(rows.called(job_id), jobs.c.state == State.QUEUED)
                .values(state=State.RUNNING, fence=jobs.c.fence + 1, attempts=jobs.c.attempts + 1)
                .returning(jobs.c.fence)
            )

    def add(self, job_id: str, fence: int, picture: Drawn) -> bool:
        """Keep a finished picture; where there is one of its number, that one stays.

        False if the job is not, or no longer, drawn by who has this fence: then nothing is written. InputError if
        the order has no picture of this number.
        """
        settings = rows.written("settings", picture.settings)
        with self._database.writing() as connection:
            job = connection.execute(select(jobs.c.number, jobs.c.pictures).where(*_held(job_id, fence))).one_or_none()
            if job is None:
                return False
            check(
                0 <= picture.index < job.pictures,
                f"picture {picture.index} is not one of the {job.pictures} of this job",
            )
            there = exists().where(drawn.c.job == job.number, drawn.c.place == picture.index)
            if not connection.scalar(select(there)):
                connection.execute(
                    insert(drawn).values(
                        job=job.number, place=picture.index, digest=picture.digest, settings=settings
                    )
                )  # fmt: skip
        return True

    def end(self, job_id: str, fence: int, state: State, error: str | None = None) -> bool:
        """It came to its end. False if that is not how it ended, since this fence had lost it: nothing is written."""
        check(state.over, f"a job that is {state} has not ended")
        with self._database.writing() as connection:
            _finish(connection, _held(job_id, fence), self._clock(), state, error)
            row = connection.execute(select(jobs.c.state, jobs.c.fence).where(rows.called(job_id))).one_or_none()
        return row is not None and (row.state, row.fence) == (state, fence)

    def cancel(self, job_id: str) -> State:
        """What the job is now: cancelled, unless it was over already. KeyError if there is none."""
        with self._database.writing() as connection:
            _finish(connection, (rows.called(job_id), jobs.c.state.in_(OPEN)), self._clock(), State.CANCELLED)
            state = connection.scalar(select(jobs.c.state).where(rows.called(job_id)))
        if state is None:
            raise KeyError(job_id)
        return State(state)

    def requeue(self, job_id: str, fence: int) -> bool:
        """Its worker died. True if it is queued again, its pictures kept; False if it failed, or the fence is old."""
        with self._database.writing() as connection:
            again = connection.execute(
                update(jobs).where(*_held(job_id, fence), jobs.c.attempts < ATTEMPTS).values(state=State.QUEUED)
            )
            if again.rowcount == 0:
                _finish(connection, _held(job_id, fence), self._clock(), State.FAILED, DIED)
        return again.rowcount == 1

    # -----------------------------------------------------------------------------------------------
    # All jobs.

    def recover(self) -> list[Job]:
        """At a server's start: what the one before left running is queued again, its pictures kept.

        All that are queued, in order of acceptance. That the server ended was no fault of the jobs, so it takes no
        attempt of theirs; one that brought every server down would end at its deadline. A job whose pictures are all
        there was only not ended: `begin` it, and `end` it.
        """
        with self._database.writing() as connection:
            connection.execute(
                update(jobs)
                .where(jobs.c.finished.is_(None), jobs.c.state == State.RUNNING)
                .values(state=State.QUEUED, attempts=jobs.c.attempts - 1)
            )
            return _unfinished(connection)

    def expire(self, now: float) -> list[str]:
        """End what still waits to be begun though its time has passed: the ids of those jobs, in order of acceptance.

        A deadline is for the beginning: none holds for what a worker died of, nor where all pictures are there.
        """
        with self._database.writing() as connection:
            return _expire(connection, now)

    def unfinished(self) -> list[Job]:
        """What is queued or running, in order of acceptance."""
        with self._database.reading() as connection:
            return _unfinished(connection)

    def pinned(self) -> set[str]:
        """The pictures that unfinished jobs need, or have drawn: none of them may be deleted."""
        return {digest for job in self.unfinished() for digest in _pictures(job) if digest is not None}

    def get(self, job_id: str) -> Job | None:
        with self._database.reading() as connection:
            return rows.one(connection, job_id)

    def repeated(self, *, key: int | None, idempotency: tuple[str, str]) -> Job | None:
        """The job that this request has made before, as `accept` would find it. Reused where its body was another."""
        with self._database.reading() as connection:
            return repeats.find(connection, key, idempotency, self._clock())

    def of_key(self, key: int | None, limit: int, before: str | None = None) -> list[Job]:
        """The newest `limit` jobs of a key, newest first; for the next page, of those before the job `before`."""
        chosen = select(jobs).where(jobs.c.key == key).order_by(jobs.c.number.desc()).limit(limit)
        if before is not None:
            number = select(jobs.c.number).where(rows.called(before)).scalar_subquery()
            chosen = chosen.where(jobs.c.number < number)
        with self._database.reading() as connection:
            return rows.read(connection, chosen)[::-1]

    def forget(self, older_than: float) -> int:
        """Delete the jobs that were over before this time, but those whose request may still come again. How many."""
        with self._database.writing() as connection:
            repeats.forget(connection, self._clock())
            done = delete(jobs).where(jobs.c.finished < older_than, jobs.c.number.not_in(select(repeated.c.job)))
            return connection.execute(done).rowcount


def _pictures(job: Job) -> list[str | None]:
    return [job.order.image, job.order.mask, *(one.digest for one in job.drawn)]


def _insert(connection: Connection, job: Job, order: str) -> int:
    number: int | None = connection.scalar(
        insert(jobs)
        .values(
            id=job.id, key=job.key, order=order, pictures=job.order.count, state=job.state, fence=job.fence, attempts=0,
            accepted=job.accepted, deadline=job.deadline,
        )
        .returning(jobs.c.number)
    )  # fmt: skip
    assert number is not None
    return number


def _held(job_id: str, fence: int) -> tuple[Any, ...]:
    """That the job is being drawn by who has this fence: nothing else may be written of it."""
    return rows.called(job_id), jobs.c.state == State.RUNNING, jobs.c.fence == fence


def _finish(
    connection: Connection, which: tuple[Any, ...], now: float, state: State, error: str | None = None
) -> list[str]:
    """The ids of those that ended by this."""
    said = None if error is None else error.encode(errors="replace").decode().replace("\0", "?")  # what a text may have
    ended = connection.execute(
        update(jobs).where(*which).values(state=state, finished=now, error=said).returning(jobs.c.number, jobs.c.id)
    )
    return [row.id for row in sorted(ended.all())]


def _expire(connection: Connection, now: float, *which: Any) -> list[str]:
    there = select(func.count()).where(drawn.c.job == jobs.c.number).scalar_subquery()
    waiting = (jobs.c.finished.is_(None), jobs.c.state == State.QUEUED, jobs.c.attempts == 0, there < jobs.c.pictures)
    return _finish(connection, (*waiting, jobs.c.deadline <= now, *which), now, State.EXPIRED)


def _unfinished(connection: Connection) -> list[Job]:
    return rows.read(connection, select(jobs).where(jobs.c.finished.is_(None)))
