"""A ledger in one SQLite file, in WAL mode: a transaction is on the disk when it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from pathlib import Path

from sqlalchemy import Connection, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError

from limner.core import InputError
from limner.serve.faults import Unavailable
from limner.store.files import sync_folder

PASSING = {  # faults of the machine, which may be over the next time
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOMEM,
}  # fmt: skip
BUSY = "busy"


class Sqlite:
    """The file at `path`; `patience` is how many seconds one transaction waits for another."""

    def __init__(self, path: Path, patience: float, connections: int) -> None:
        self._path, self._patience = path.absolute(), patience
        self.name = str(path)
        self.engine = create_engine(
            "sqlite://", creator=self._connect, poolclass=QueuePool, pool_size=connections, max_overflow=0,
            pool_timeout=patience,
        )  # fmt: skip
        event.listen(self.engine, "begin", _begin)
        self._lock: int | None = None
        self._file: tuple[int, int] | None = None
        self._changing = threading.Lock()

    def make(self) -> None:
        """An empty file where there is none; nobody else reads it, since it has what people asked for. OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_folder(self._path.parent)

    def queue(self, connection: Connection) -> None:
        """Whoever makes tables is alone: the transaction, having begun, is the only one that writes."""

    def settle(self) -> None:
        """Once the file is known to be ours. InputError where it cannot be kept safely."""
        until = time.monotonic() + self._patience
        while (mode := self._log_ahead()) == BUSY:
            if time.monotonic() > until:
                raise Unavailable(f"{self.name}: database is locked")
            time.sleep(0.01)
        if mode != "wal":
            raise InputError(f"{self.name} can have no write-ahead log where it is; put it on a disk of this machine")

    def hold(self) -> bool:
        """Have the lock beside the file, which the system frees when this process ends. False where another has it."""
        if self._lock is not None:
            return True
        beside = self._path.with_name(f"{self._path.name}.lock")
        lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                return False
            raise
        self._lock = lock
        return True

    def check(self) -> None:
        """The file is where it was: SQLite itself would go on writing to one that was moved away or deleted."""
        found = self._identity()
        with self._changing:
            if self._file not in (None, found):
                self.engine.dispose()
            self._file = found

    def passing(self, error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlite_errorcode", -1) & 0xFF in PASSING

    def close(self) -> None:
        self.engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _log_ahead(self) -> str:
        """The mode that the file is in now. BUSY: before it changes that, SQLite waits for nobody."""
        try:
            with contextlib.closing(self._connect()) as connection:
                [mode] = connection.execute("PRAGMA journal_mode = WAL").fetchone()
                return str(mode)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                return BUSY
            raise Unavailable(f"{self.name}: {error}") from error

    def _identity(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except OSError as error:
            raise Unavailable(f"{self.name}: {error.strerror}") from None
        return found.st_dev, found.st_ino

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw",  # so that a file which is gone is missed, and not made anew
            uri=True, timeout=self._patience, isolation_level=None, check_same_thread=False,
        )  # fmt: skip
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")  # what is forgotten is not to be found in the file
        connection.execute("PRAGMA synchronous = FULL")  # in WAL less would sync at checkpoints only
        return connection


def _begin(connection: Connection) -> None:
    """A transaction that reads and then writes would fail where another has written in between: so it waits first."""
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
