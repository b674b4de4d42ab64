"""Where the tests keep ledgers, and how the machine is made to fail there."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from sqlalchemy import event

from limner.serve.ledger import Ledger

HOMES = Path("/usr/lib/postgresql")  # where Debian has its versions, which are on nobody's path
OPTIONS = "-c fsync=off -c full_page_writes=off -c listen_addresses='' -c unix_socket_directories={folder}"
numbers = itertools.count(1)


class Place(Protocol):
    """An empty database, and what may happen to it. Each fault is over when it is left."""

    url: str

    def run(self, statement: str) -> list[tuple[Any, ...]]: ...
    def gone(self) -> Any: ...
    def locked(self) -> Any: ...
    def read_only(self, ledger: Ledger) -> Any: ...
    def lose_lock(self) -> None: ...


class InSqlite:
    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{next(numbers)}.sqlite"
        self.url = str(self.path)

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as db, db:
            return db.execute(statement).fetchall()

    @contextmanager
    def gone(self) -> Iterator[None]:
        away = self.path.with_suffix(".away")
        self.path.rename(away)
        yield
        away.rename(self.path)

    def lose_lock(self) -> None:
        self.path.with_name(f"{self.path.name}.lock").unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield

    @contextmanager
    def read_only(self, ledger: Ledger) -> Iterator[None]:
        """SQLite refuses as on a read-only disk, which a test that runs as root cannot have."""
        engine = ledger._database._place.engine
        setting = "ON"

        def set_it(connection: sqlite3.Connection, *_: object) -> None:
            connection.execute(f"PRAGMA query_only = {setting}")

        event.listen(engine, "checkout", set_it)
        yield
        setting = "OFF"


class InPostgresql:
    """A schema of its own on the server of all tests."""

    def __init__(self, server: Cluster) -> None:
        self._server = server
        self._schema = f"place{next(numbers)}"
        self.url = f"{server.url}&options=-csearch_path%3D{self._schema}"
        self.run(f"CREATE SCHEMA {self._schema}")

    def run(self, statement: str) -> list[tuple[Any, ...]]:
        address = self.url.replace("postgresql+psycopg:", "postgresql:")
        with psycopg.connect(address, autocommit=True) as db:
            db.execute("SET default_transaction_read_only = off")
            cursor = db.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def gone(self) -> Iterator[None]:
        self._server.stop()
        try:
            yield
        finally:
            self._server.start()

    @contextmanager
    def locked(self) -> Iterator[None]:
        with psycopg.connect(self.url.replace("postgresql+psycopg:", "postgresql:")) as db:
            db.execute("LOCK TABLE limner_ledger")
            yield

    @contextmanager
    def read_only(self, ledger: Ledger) -> Iterator[None]:
        """As after a change of roles, when this server is the one that follows."""
        self._settle("on")
        try:
            yield
        finally:
            self._settle("off")

    def _settle(self, value: str) -> None:
        self.run(f"ALTER DATABASE postgres SET default_transaction_read_only = {value}")
        self.lose_lock()

    def lose_lock(self) -> None:
        """All connections to the server but this one are ended."""
        self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename <> ''"
        )


@dataclass(frozen=True)
class Cluster:
    """A PostgreSQL server, at a socket in a temporary folder."""

    folder: Path
    binaries: Path
    user: str

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{self.user}@/postgres?host={self.folder}"

    def start(self) -> None:
        log, options = self.folder / "log", OPTIONS.format(folder=self.folder)
        self.run("pg_ctl", "start", "-w", "-D", str(self.folder / "data"), "-l", str(log), "-o", options)

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self.folder / "data"))

    def run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), *arguments]
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            command = ["runuser", "-u", self.user, "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd=self.folder)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Skips the test where PostgreSQL is not installed."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip(f"no PostgreSQL server is installed: there is no initdb on the path or in {HOMES}")
    folder = Path(tempfile.mkdtemp(prefix="limner-pg-", dir="/tmp"))  # a socket's path is short
    try:
        found = Cluster(folder, binaries, _user(folder))
        found.run("initdb", "-D", str(folder / "data"), "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        found.start()
        try:
            yield found
        finally:
            found.stop()
    finally:
        shutil.rmtree(folder)


def _binaries() -> Path | None:
    """Of the newest version."""
    found = sorted(HOMES.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    newest = Path(on_path).resolve() if on_path else found[-1] if found else None
    return newest.parent if newest else None


def _user(folder: Path) -> str:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    if shutil.which("runuser") is None or "postgres" not in {one.pw_name for one in pwd.getpwall()}:
        pytest.skip("root needs runuser and a user called postgres to start PostgreSQL")
    shutil.chown(folder, "postgres")
    return "postgres"
