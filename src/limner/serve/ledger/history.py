"""What the ledger has of late, for who looks on: nothing is written, and no server is in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from sqlalchemy import select

from limner.serve.ledger import rows
from limner.serve.ledger.database import Database
from limner.serve.ledger.tables import jobs, ledger
from limner.serve.orders import Job


class History:
    """For any number of threads; Unavailable where the machine is at fault."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, url_or_path: str | Path) -> Self:
        """Of the ledger at this place, while a server works on it or not. InputError as in Ledger.open."""
        return cls(Database.open(url_or_path))

    def close(self) -> None:
        self._database.close()

    def since(self, when: float, *, most: int) -> list[Job]:
        """The jobs that were accepted from this time on, in that order; of more than `most` the newest."""
        chosen = select(jobs).where(jobs.c.accepted >= when).order_by(jobs.c.number.desc()).limit(most)
        with self._database.reading() as connection:
            return rows.read(connection, chosen)

    def check_there(self) -> None:
        """Unavailable where the ledger does not answer."""
        with self._database.reading() as connection:
            connection.execute(select(ledger.c.version)).one()
