"""Transactions in either database: all of one is written when it ends, or nothing of it.

Those that write go one after another. SQLite can do no other, and PostgreSQL is made to, by a row that each locks
first: so what was thought through once holds for both. One server works at a time, and a job takes seconds, so nobody
waits for long.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, Self

from sqlalchemy import Connection, Engine, insert, inspect, make_url, select, update
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from limner.core import InputError, check
from limner.serve.faults import Unavailable
from limner.serve.ledger.postgresql import Postgresql
from limner.serve.ledger.sqlite import Sqlite
from limner.serve.ledger.tables import VERSION, ledger, metadata

PATIENCE = 10.0  # seconds that one transaction waits for another
CONNECTIONS = 8
LETTING_GO = 2.0  # seconds that a server which was just killed may need until its lock is free


class Place(Protocol):
    """Where a ledger is kept: what the two databases do differently."""

    name: str
    engine: Engine

    def make(self) -> None: ...
    def queue(self, connection: Connection) -> None: ...
    def settle(self) -> None: ...
    def hold(self) -> bool: ...
    def check(self) -> None: ...
    def passing(self, error: DBAPIError) -> bool: ...
    def close(self) -> None: ...


class Database:
    """For any number of threads. `Unavailable` from any transaction is a fault of the machine."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._writers = threading.Lock()
        self._holder: str | None = None  # the token by which a server knows that no other has come after it
        self._doubtful = False  # after a fault the lock may be lost, and connections broken
        self._closed = False

    @classmethod
    def open(cls, url_or_path: str | Path) -> Self:
        """Of a path or a URL, with its tables made if there is nothing yet. InputError where that cannot be."""
        place = _place(url_or_path)
        with contextlib.ExitStack() as undo:
            undo.callback(place.close)
            found = cls(place)
            with _refusing(place.name):
                place.make()
                found._prepare()
            undo.pop_all()
        return found

    def take(self) -> None:
        """Become the one server that works here. InputError where another is."""
        with _refusing(self._place.name), self._faults():
            until = time.monotonic() + LETTING_GO
            while not self._place.hold():
                if time.monotonic() > until:
                    raise InputError(f"{self._place.name} is in use by another server; stop it, or name another ledger")
                time.sleep(0.1)
            holder = secrets.token_hex(16)
            with self.writing() as connection:
                connection.execute(update(ledger).values(holder=holder))
            self._holder = holder

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, alone among those that write."""
        with self._turn(), self._faults():
            self._mend()
            self._place.check()
            with self._place.engine.begin() as connection:
                self._belongs(connection)
                yield connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """For one query, which sees all of what was written before."""
        with self._faults():
            self._still_open()
            self._place.check()
            with self._place.engine.connect().execution_options(reading=True) as connection:
                yield connection

    def close(self) -> None:
        with self._writers:
            self._closed = True
            self._place.close()

    def _prepare(self) -> None:
        """Make the tables where there is nothing; refuse what is not ours."""
        name = self._place.name
        with self._faults(), self._place.engine.begin() as connection:
            self._place.queue(connection)
            tables = inspect(connection).get_table_names()
            if not tables:
                metadata.create_all(connection)
                connection.execute(insert(ledger).values(id=1, version=VERSION, holder=""))
            check(not tables or ledger.name in tables, f"{name} is a database, but no ledger of Limner's; name another")
            version = connection.scalar(select(ledger.c.version))
            check(
                version == VERSION,
                f"{name} is a ledger in version {version}, and this Limner reads {VERSION}; update Limner",
            )
        self._place.settle()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Threads of this process wait here, in turn: the databases' own waiting is slower, and holds connections."""
        if not self._writers.acquire(timeout=PATIENCE):
            raise Unavailable(f"{self._place.name} has not answered for {PATIENCE:.0f} seconds")
        try:
            self._still_open()
            yield
        finally:
            self._writers.release()

    def _still_open(self) -> None:
        if self._closed:
            raise Unavailable(f"{self._place.name} was closed")

    def _mend(self) -> None:
        if self._doubtful:
            self._place.engine.dispose()
            if self._holder and not self._place.hold():
                raise Unavailable(f"{self._place.name} is in use by another server by now; stop this one")
            self._doubtful = False

    def _belongs(self, connection: Connection) -> None:
        """Wait until no other transaction writes, and see that no other server has come in the meantime."""
        name = self._place.name
        try:
            holder = connection.scalar(select(ledger.c.holder).with_for_update())
        except DBAPIError as error:
            raise Unavailable(f"{name}: {_said(error)}") from error
        if holder is None:
            raise Unavailable(f"{name} is no ledger any more")
        if self._holder not in (None, holder):
            raise Unavailable(f"{name} has been in other hands in the meantime; start this server again")

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """The machine's faults by one name, for those who know nothing of databases."""
        try:
            yield
        except DBAPIError as error:
            if not self._place.passing(error):
                raise
            self._doubtful = True
            raise Unavailable(f"{self._place.name}: {_said(error)}") from error
        except (PoolTimeout, OSError) as error:
            self._doubtful = True
            raise Unavailable(f"{self._place.name}: {_said(error)}") from error
        except Unavailable:
            self._doubtful = True
            raise


def _place(url_or_path: str | Path) -> Place:
    if isinstance(url_or_path, Path) or "://" not in url_or_path:
        return Sqlite(Path(url_or_path), PATIENCE, CONNECTIONS)
    try:
        url = make_url(url_or_path)
    except (ArgumentError, ValueError):  # whose messages would show a password
        raise InputError("the ledger's URL cannot be read; write it as postgresql://user:password@host/name") from None
    kind = url.get_backend_name()
    if kind == "postgresql":
        return Postgresql(url, PATIENCE, CONNECTIONS)
    check(kind == "sqlite", f"a ledger is not kept in {kind}; name a file, or a URL that begins with postgresql://")
    check(url.database not in (None, "", ":memory:"), "a ledger in memory would be lost; name a file")
    return Sqlite(Path(str(url.database)), PATIENCE, CONNECTIONS)


@contextlib.contextmanager
def _refusing(name: str) -> Iterator[None]:
    """At the start, somebody is there to put right what is wrong."""
    try:
        yield
    except (Unavailable, DBAPIError, OSError) as error:
        said = _said(error).removeprefix(f"{name}: ")
        raise InputError(f"{name} cannot be used as a ledger: {said}; put that right, or name another") from None


def _said(error: Exception) -> str:
    """One line. A database's own words come without the statement, which has what people asked for."""
    told = error.orig if isinstance(error, DBAPIError) else error
    said = told.strerror if isinstance(told, OSError) else None
    return (said or str(told) or type(told).__name__).splitlines()[0]
