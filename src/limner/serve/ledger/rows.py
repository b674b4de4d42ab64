"""Jobs out of their rows, and the JSON in them."""

from __future__ import annotations

import itertools
import json
import re
import secrets
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, false, select

from limner.core import InputError, parse, unparse
from limner.serve.ledger.tables import drawn, jobs
from limner.serve.orders import Drawn, Job, Order, State

ID = re.compile(r"[0-9a-f]{32}")


def new_id() -> str:
    return secrets.token_hex(16)


def read(connection: Connection, chosen: Select[Any]) -> list[Job]:
    """The jobs that `chosen` selects from `jobs`, in order of acceptance, with their pictures: by one query.

    So all of it is of one moment, whatever else is written.
    """
    some = chosen.subquery()
    query = (
        select(some, drawn.c.place, drawn.c.digest, drawn.c.settings)
        .outerjoin(drawn, drawn.c.job == some.c.number)
        .order_by(some.c.number, drawn.c.place)
    )
    rows = connection.execute(query).all()
    return [_job(list(group)) for _, group in itertools.groupby(rows, lambda row: row.number)]


def one(connection: Connection, job_id: str) -> Job | None:
    found = read(connection, select(jobs).where(called(job_id)))
    return found[0] if found else None


def called(job_id: str) -> ColumnElement[bool]:
    """The job of this id, which comes from outside: the databases refuse some characters, so they are not asked."""
    return jobs.c.id == job_id if ID.fullmatch(job_id) else false()


def written(what: str, value: Any) -> str:
    """JSON of ASCII characters alone. InputError where it cannot be: a number that is none, say."""
    try:
        return json.dumps(unparse(value), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"the {what} cannot be written down: {error}") from None


def order(text: str) -> Order:
    return parse(Order, json.loads(text), "order")


def _job(rows: list[Row[Any]]) -> Job:
    first = rows[0]
    return Job(
        id=first.id, order=order(first.order), key=first.key,
        state=State(first.state), fence=first.fence, accepted=first.accepted, deadline=first.deadline,
        finished=first.finished, error=first.error,
        drawn=tuple(
            Drawn(index=row.place, digest=row.digest, settings=json.loads(row.settings))
            for row in rows if row.place is not None
        ),
    )  # fmt: skip
