"""A ledger in PostgreSQL: in the schema that the address leads to, which has nothing else in it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, func, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from limner.core import InputError

APPLICATION = 0x4C494D4E  # the first half of the locks' names; the second is the schema's
REACH = 5  # seconds to reach the server in
HANG = 30  # seconds after which a statement, or a server that no longer answers, is given up
READ_ONLY = "25006"  # the sqlstate of a standby, say
SESSION = """
SELECT set_config('lock_timeout', '{patience}ms', false), set_config('statement_timeout', '{hang}ms', false),
    CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END
"""


class Postgresql:
    """The database at `url`; `patience` is how many seconds one transaction waits for another."""

    def __init__(self, url: URL, patience: float, connections: int) -> None:
        self.name = url.difference_update_query(["password"]).render_as_string(hide_password=True)
        reach = {"connect_timeout": str(REACH), "tcp_user_timeout": str(1000 * HANG), **url.query}
        try:
            self.engine = create_engine(
                url.set(drivername="postgresql+psycopg", query=reach), pool_size=connections + 1, max_overflow=0,
                pool_timeout=patience, pool_pre_ping=True, isolation_level="READ COMMITTED",
            )  # fmt: skip
        except ModuleNotFoundError:
            raise InputError('PostgreSQL needs psycopg: pip install "limner[postgresql]"') from None
        self._session = SESSION.format(patience=round(1000 * patience), hang=1000 * HANG)
        event.listen(self.engine, "connect", self._connected)
        self._lock: Connection | None = None

    def make(self) -> None:
        """A database is made by who looks after the server."""

    def queue(self, connection: Connection) -> None:
        """Whoever makes tables is alone."""
        connection.execute(select(func.pg_advisory_xact_lock(APPLICATION + 1, _schema())))

    def settle(self) -> None:
        """Nothing is left to do."""

    def hold(self) -> bool:
        """Have the lock, which the server frees when this connection to it ends. False where another has it.

        A connection that broke has lost it, and then it is asked for again. What pools connections on the way has to
        give each its own session.
        """
        if self._lock is not None:
            try:
                return _take(self._lock)
            except DBAPIError:
                self._release()
        lock = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        self._lock = lock
        if not _take(lock):
            self._release()
        return self._lock is not None

    def check(self) -> None:
        """A server that is gone says so."""

    def passing(self, error: DBAPIError) -> bool:
        state = getattr(error.orig, "sqlstate", None) or ""
        ours = isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
        return ours or state == READ_ONLY or state.startswith("XX")  # the last: its own faults, a damaged disk's

    def close(self) -> None:
        self._release()
        self.engine.dispose()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.invalidate()
            self._lock.close()
            self._lock = None

    def _connected(self, connection: Any, record: object) -> None:
        """What this session waits for, and that its transactions are on the disk when they end."""
        connection.execute(self._session)
        connection.commit()


def _take(lock: Connection) -> bool:
    return bool(lock.scalar(select(func.pg_try_advisory_lock(APPLICATION, _schema()))))


def _schema() -> Any:
    return func.hashtext(func.current_schema())
