"""A request that comes twice, because its answer was lost on the way, is answered by the same job.

The sender marks it with an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header), which counts for the API key
that it came with, and for 24 hours.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, insert, select

from limner.serve.ledger import rows
from limner.serve.ledger.tables import jobs, repeats
from limner.serve.orders import Job

KEPT = 24 * 3600.0  # seconds


class Idempotency(NamedTuple):
    """The header's value, and a digest of the request's body."""

    key: str
    body: str


class Reused(ValueError):  # noqa: N818  (the HTTP answer's own word)
    """An Idempotency-Key came again with another body: nothing was accepted."""


def find(connection: Connection, owner: int | None, given: tuple[str, str], now: float) -> Job | None:
    """The job that this request has made already. Reused where it was another request."""
    name, body = given
    row = connection.execute(
        select(repeats.c.body, jobs.c.id)
        .join(jobs, jobs.c.number == repeats.c.job)
        .where(*_this(owner, name), repeats.c.since > now - KEPT)
    ).one_or_none()
    if row is None:
        return None
    if row.body != body:
        raise Reused("this Idempotency-Key came with another request before; give each request a key of its own")
    return rows.one(connection, row.id)


def note(connection: Connection, owner: int | None, given: tuple[str, str], job: int, now: float) -> None:
    name, body = given
    connection.execute(delete(repeats).where(*_this(owner, name)))  # one that has had its time
    connection.execute(insert(repeats).values(owner=owner or 0, name=_hash(name), body=body, job=job, since=now))


def forget(connection: Connection, now: float) -> None:
    """Those that have had their time."""
    connection.execute(delete(repeats).where(repeats.c.since <= now - KEPT))


def _this(owner: int | None, name: str) -> tuple[ColumnElement[bool], ...]:
    return repeats.c.owner == (owner or 0), repeats.c.name == _hash(name)


def _hash(name: str) -> str:
    """Of a size that an index can have, whatever was sent."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
