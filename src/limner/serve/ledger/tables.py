"""What is kept, in both databases alike.

    keys --< jobs --< drawn (finished pictures)
             jobs --- repeats (requests that may come twice)

Orders and settings are JSON in plain text, escaped to ASCII: PostgreSQL's own type refuses characters that a prompt may
have. Times are seconds since 1970. Whoever changes a table, or an Order so that an old one is not read, counts
VERSION up.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Named,
    Table,
    TypedColumns,
)

from limner.serve.orders import State

VERSION = 1
OPEN = (State.QUEUED, State.RUNNING)
NUMBER = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts rows by INTEGER alone

metadata = MetaData()


class LedgerColumns(TypedColumns):
    """One row: the version of these tables, and a random token of the server that works here."""

    id: Named[int] = Column(CheckConstraint("id = 1"), primary_key=True, autoincrement=False)
    version: Named[int]
    holder: Named[str]


class KeyColumns(TypedColumns):
    """`lag` to `spent` are what was asked for with the key lately: see allowance.py."""

    id: Named[int] = Column(Identity(), primary_key=True)
    name: Named[str]
    digest: Named[str] = Column(unique=True)
    created: Named[float]
    revoked: Named[float | None]
    rate_per_minute: Named[int | None]
    quota_per_day: Named[int | None]
    lag: Named[float] = Column(default=0.0)
    seen: Named[float] = Column(default=0.0)
    day: Named[int] = Column(default=0)
    spent: Named[int] = Column(NUMBER, default=0)


class JobColumns(TypedColumns):
    """`number` is the order of acceptance; `attempts` counts each `begin`, but for what a server's end cut short."""

    number: Named[int] = Column(NUMBER, Identity(), primary_key=True)
    id: Named[str] = Column(unique=True)
    key: Named[int | None] = Column(ForeignKey("keys.id"))
    order: Named[str]
    pictures: Named[int]
    state: Named[str] = Column(CheckConstraint(f"state IN ({', '.join(repr(str(one)) for one in State)})"))
    fence: Named[int]
    attempts: Named[int]
    accepted: Named[float]
    deadline: Named[float]
    finished: Named[float | None]
    error: Named[str | None]


class DrawnColumns(TypedColumns):
    """A finished picture."""

    job: Named[int] = Column(NUMBER, ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True)
    place: Named[int] = Column(primary_key=True, autoincrement=False)
    digest: Named[str]
    settings: Named[str]


class RepeatColumns(TypedColumns):
    """An Idempotency-Key, by its SHA-256. `owner` is the id of the API key, or 0 without one."""

    owner: Named[int] = Column(primary_key=True, autoincrement=False)
    name: Named[str] = Column(primary_key=True)
    body: Named[str]
    job: Named[int] = Column(NUMBER, ForeignKey("jobs.number", ondelete="CASCADE"), index=True)
    since: Named[float]


ledger = Table("limner_ledger", metadata, LedgerColumns)
keys = Table("keys", metadata, KeyColumns)
jobs = Table("jobs", metadata, JobColumns)
drawn = Table("drawn", metadata, DrawnColumns)
repeats = Table("repeats", metadata, RepeatColumns)

Index("jobs_of_key", jobs.c.key, jobs.c.number)
Index("jobs_finished", jobs.c.finished)
Index(
    "jobs_open", jobs.c.number, sqlite_where=jobs.c.finished.is_(None), postgresql_where=jobs.c.finished.is_(None)
)  # what is not over has no end yet, and there is little of it
