"""API keys: who may ask, and for how much."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Row, insert, select, update

from limner.core import check
from limner.serve.ledger import allowance
from limner.serve.ledger.allowance import Allowance, Limits, Spent
from limner.serve.ledger.database import Database
from limner.serve.ledger.tables import keys

PREFIX = "lim_"  # by which people, and programs that look for secrets in published code, know it
NAME = 100  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key without its secret. Times are seconds since 1970; `revoked` is None while it holds."""

    id: int
    name: str
    created: float
    revoked: float | None = None
    rate_per_minute: int | None = None
    quota_per_day: int | None = None


class Keys:
    """The keys of a ledger. For any number of threads; Unavailable where the machine is at fault."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock

    @classmethod
    def open(cls, url_or_path: str | Path, clock: Callable[[], float] = time.time) -> Self:
        """The keys alone, to look after them even while a server works on the ledger. InputError as in Ledger.open."""
        return cls(Database.open(url_or_path), clock)

    def close(self) -> None:
        self._database.close()

    def add(
        self, name: str, *, rate_per_minute: int | None = None, quota_per_day: int | None = None
    ) -> tuple[Key, str]:
        """A new key, and its secret, which is told this once. Both limits count pictures.

        InputError if a key of this name holds, or a limit is below 1.
        """
        check(name.isprintable() and 0 < len(name.strip()) <= NAME, f"{name!r} is no name of 1 to {NAME} characters")
        for limit in (rate_per_minute, quota_per_day):
            check(limit is None or 1 <= limit < 2**31, f"a limit of {limit} pictures is not from 1 to {2**31 - 1}")
        secret = PREFIX + secrets.token_urlsafe(32)
        values: dict[str, Any] = {"name": name, "rate_per_minute": rate_per_minute, "quota_per_day": quota_per_day}
        with self._database.writing() as connection:
            holds = connection.scalar(select(keys.c.id).where(keys.c.name == name, keys.c.revoked.is_(None)))
            check(holds is None, f"there is a key {name!r} already; revoke it, or choose another name")
            values |= {"digest": _digest(secret), "created": self._clock()}
            [row] = connection.execute(insert(keys).values(values).returning(*keys.c)).all()
        return _key(row), secret

    def find(self, secret: str) -> Key | None:
        """The key of this secret, if it holds."""
        digest = _digest(secret)
        with self._database.reading() as connection:
            row = connection.execute(select(keys).where(keys.c.digest == digest)).one_or_none()
        # What the index took time to compare is a digest, which nobody who guesses can bring closer step by step.
        if row is None or not hmac.compare_digest(row.digest, digest) or row.revoked is not None:
            return None
        return _key(row)

    def revoke(self, key_id: int) -> bool:
        """From now on it is not found. Whether it held until now; its jobs go on."""
        with self._database.writing() as connection:
            held = update(keys).where(keys.c.id == key_id, keys.c.revoked.is_(None)).values(revoked=self._clock())
            return connection.execute(held).rowcount == 1

    def all(self) -> list[Key]:
        """Revoked ones, too, in the order in which they were made."""
        with self._database.reading() as connection:
            return [_key(row) for row in connection.execute(select(keys).order_by(keys.c.id))]

    def spend(self, key_id: int, pictures: int, now: float) -> Allowance:
        """Ask for so many pictures: where that is allowed they are counted, on the disk. KeyError: no such key."""
        check(pictures >= 1, f"{pictures} pictures are none")
        with self._database.writing() as connection:
            row = connection.execute(select(keys).where(keys.c.id == key_id)).one_or_none()
            if row is None:
                raise KeyError(key_id)
            before = Spent(row.lag, row.seen, row.day, row.spent)
            answer, after = allowance.spend(before, Limits(row.rate_per_minute, row.quota_per_day), pictures, now)
            if after != before:
                _note(connection, key_id, after)
        return answer


def _note(connection: Connection, key_id: int, spent: Spent) -> None:
    values = {"lag": spent.lag, "seen": spent.seen, "day": spent.day, "spent": spent.pictures}
    connection.execute(update(keys).where(keys.c.id == key_id).values(values))


def _digest(secret: str) -> str:
    """By a fast hash. A slow one makes guesses dear, for what people choose; but nobody guesses 32 random bytes."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _key(row: Row[*tuple[Any, ...]]) -> Key:
    return Key(
        id=row.id, name=row.name, created=row.created, revoked=row.revoked, rate_per_minute=row.rate_per_minute,
        quota_per_day=row.quota_per_day,
    )  # fmt: skip
