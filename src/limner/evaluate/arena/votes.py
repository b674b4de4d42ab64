"""The votes: one SQLite file, in which a vote is on the disk before anybody is told that it counts.

    contestants --< pictures --< showings (a pair as it was shown: which left, which right) -- votes
    sessions --< hung (which pictures take part in a session), votes

A showing has a random token, and a vote is a row with that token as its key. So a vote sent twice counts once, and one
that was cast while the server was down counts when the server is back. Everything else is derived.
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from limner.core import InputError, check
from limner.evaluate.arena.matches import Candidate
from limner.evaluate.arena.records import Choice, Contestant, Entry, Hung, Showing, Vote
from limner.evaluate.arena.subjects import Subject
from limner.store.files import sha256, sync_folder

APPLICATION, VERSION = 0x4C415645, 1  # what marks the file as ours, and the version of the tables below
PATIENCE = 10.0  # seconds that one process waits for another's transaction
PASSING = {  # faults of the machine, which may be over the next time
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}  # fmt: skip
TABLES = """
CREATE TABLE contestants (
    id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, origin TEXT NOT NULL
) STRICT;
CREATE TABLE pictures (
    id INTEGER PRIMARY KEY, contestant INTEGER NOT NULL REFERENCES contestants, prompt TEXT NOT NULL,
    take INTEGER NOT NULL, sha256 TEXT NOT NULL, path TEXT NOT NULL, UNIQUE (contestant, prompt, take, sha256)
) STRICT;
CREATE TABLE sessions (id INTEGER PRIMARY KEY, started TEXT NOT NULL, finished TEXT) STRICT;
CREATE TABLE hung (
    session INTEGER NOT NULL REFERENCES sessions, picture INTEGER NOT NULL REFERENCES pictures,
    PRIMARY KEY (session, picture)
) STRICT, WITHOUT ROWID;
CREATE TABLE showings (
    token TEXT PRIMARY KEY, on_left INTEGER NOT NULL REFERENCES pictures, on_right INTEGER NOT NULL REFERENCES pictures,
    shown TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE votes (
    token TEXT PRIMARY KEY REFERENCES showings, choice TEXT NOT NULL CHECK (choice IN ('left', 'right', 'tie')),
    session INTEGER NOT NULL REFERENCES sessions, decided TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
CONTESTANT = """
INSERT INTO contestants (hash, name, origin) VALUES (?, ?, ?)
ON CONFLICT DO UPDATE SET name = excluded.name, origin = excluded.origin RETURNING id
"""
PICTURE = """
INSERT INTO pictures (contestant, prompt, take, sha256, path) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET path = excluded.path RETURNING id
"""
CAST = """
INSERT OR IGNORE INTO votes SELECT :token, :choice, :session, :now
WHERE (SELECT finished IS NULL FROM sessions WHERE id = :session)
"""
CANDIDATES = """
WITH voted AS (
    SELECT min(on_left, on_right) AS low, max(on_left, on_right) AS high, count(*) AS votes
    FROM votes JOIN showings USING (token) GROUP BY low, high
)
SELECT one.id, other.id, one.contestant, other.contestant, coalesce(voted.votes, 0)
FROM hung JOIN pictures AS one ON one.id = hung.picture
JOIN pictures AS other USING (prompt, take) JOIN hung AS too ON too.picture = other.id AND too.session = hung.session
LEFT JOIN voted ON low = min(one.id, other.id) AND high = max(one.id, other.id)
WHERE hung.session = ? AND one.contestant < other.contestant
"""
SHOWING = """
SELECT l.prompt, l.id, l.path, r.id, r.path, choice
FROM showings JOIN pictures AS l ON l.id = on_left JOIN pictures AS r ON r.id = on_right LEFT JOIN votes USING (token)
WHERE token = ?
"""
EVERY_VOTE = """
SELECT token, choice, session, shown, decided, l.prompt, l.take,
    a.name, a.hash, a.origin, l.sha256, l.path, b.name, b.hash, b.origin, r.sha256, r.path
FROM votes JOIN showings USING (token)
JOIN pictures AS l ON l.id = on_left JOIN contestants AS a ON a.id = l.contestant
JOIN pictures AS r ON r.id = on_right JOIN contestants AS b ON b.id = r.contestant
ORDER BY decided, token
"""


class Votes:
    """The file of votes at `path`, for any number of threads and processes.

    `create` says whether there may be none yet. InputError if the file is no file of votes; OSError from any method
    if the disk is full or the file locked, say: then nothing was written.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        check(create or path.is_file(), f"{path} does not exist; name the votes.sqlite of an arena")
        self.path = path
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            with contextlib.ExitStack() as undo:
                undo.callback(self._db.close)
                self._prepare(create)
                undo.pop_all()
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path} cannot be used as a file of votes: {error}") from None

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # -----------------------------------------------------------------------------------------------
    # Sessions, contestants, pictures.

    def begin(self) -> int:
        """A new session, by its number."""
        with self._writing() as db:
            return _id(db.execute("INSERT INTO sessions (started) VALUES (?) RETURNING id", [_now()]))

    def finish(self, session: int) -> None:
        with self._writing() as db:
            db.execute("UPDATE sessions SET finished = ? WHERE id = ? AND finished IS NULL", [_now(), session])

    def finished(self, session: int) -> bool:
        [row] = self._rows("SELECT finished IS NOT NULL FROM sessions WHERE id = ?", session)
        return bool(row[0])

    def hang(self, session: int, contestant: Contestant, pictures: Iterable[tuple[Subject, Path]]) -> None:
        """Let pictures take part in a session. A file below the votes' folder is named as seen from there."""
        rows = [(*subject, sha256(path), self._stated(path)) for subject, path in pictures]
        with self._writing() as db:
            who = _id(db.execute(CONTESTANT, [contestant.hash, contestant.name, contestant.origin]))
            for row in rows:
                picture = _id(db.execute(PICTURE, [who, *row]))
                db.execute("INSERT OR IGNORE INTO hung VALUES (?, ?)", [session, picture])

    def take_down(self, session: int, picture: Hung) -> None:
        """Let a picture take part no longer; votes on it stay."""
        with self._writing() as db:
            db.execute("DELETE FROM hung WHERE session = ? AND picture = ?", [session, picture.id])

    # -----------------------------------------------------------------------------------------------
    # Showing and voting.

    def candidates(self, session: int) -> list[Candidate]:
        """All pairs that could be shown, with how often each was voted on."""
        return [Candidate(*row) for row in self._rows(CANDIDATES, session)]

    def show(self, left: int, right: int) -> str:
        """Note that this pair is shown; the token of the showing."""
        token = secrets.token_urlsafe(16)
        with self._writing() as db:
            db.execute("INSERT INTO showings VALUES (?, ?, ?, ?)", [token, left, right, _now()])
        return token

    def showing(self, token: str) -> Showing | None:
        for prompt, left, left_path, right, right_path, choice in self._rows(SHOWING, token):
            return Showing(token, prompt, self._hung(left, left_path), self._hung(right, right_path), choice)
        return None

    def cast(self, session: int, token: str, choice: Choice) -> Choice | None:
        """What the vote on this showing is, now that this one was cast: the first that ever was. On the disk.

        None if there is none, because the session is finished.
        """
        with self._writing() as db:
            db.execute(CAST, {"token": token, "choice": choice, "session": session, "now": _now()})
            stands = db.execute("SELECT choice FROM votes WHERE token = ?", [token]).fetchone()
        return stands[0] if stands else None

    def __len__(self) -> int:
        [row] = self._rows("SELECT count(*) FROM votes")
        return int(row[0])

    def __iter__(self) -> Iterator[Vote]:
        """In the order in which they were cast."""
        for token, choice, session, shown, decided, prompt, take, *sides in self._rows(EVERY_VOTE):
            left, right = self._entry(*sides[:5]), self._entry(*sides[5:])
            yield Vote(token, choice, session, shown, decided, Subject(prompt, take), left, right)

    # -----------------------------------------------------------------------------------------------
    # The file.

    def _prepare(self, create: bool) -> None:
        """Make the tables where there is nothing; refuse what is not ours."""
        self._db.execute("PRAGMA foreign_keys = ON")
        with self._writing() as db:
            [application], [version] = (
                db.execute(f"PRAGMA {one}").fetchone() for one in ("application_id", "user_version")
            )
            [tables] = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if create and not application and not tables:
                for statement in TABLES.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION}")
                db.execute(f"PRAGMA user_version = {VERSION}")
            elif application != APPLICATION:
                raise InputError(f"{self.path} is a database, but not one of votes; name another file")
            elif version != VERSION:
                raise InputError(
                    f"{self.path} has votes in version {version}, and this Limner reads {VERSION}; update it"
                )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")  # in WAL less would sync at checkpoints only
        sync_folder(self.path.absolute().parent)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is on the disk when this is left, or nothing of it."""
        with self._lock, self._faults():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk may have ended it
                    self._db.execute("ROLLBACK")
                raise

    def _rows(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]  # SQLite's values have any type
        with self._lock, self._faults():
            return self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """The machine's faults as OSError, for those who know nothing of SQLite."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in PASSING:
                raise
            raise OSError(errno.EIO, str(error), str(self.path)) from None

    def _stated(self, path: Path) -> str:
        whole, root = path.absolute(), self.path.absolute().parent
        return str(whole.relative_to(root) if whole.is_relative_to(root) else whole)

    def _hung(self, number: int, path: str) -> Hung:
        return Hung(number, self.path.parent / path)

    def _entry(self, name: str, hash: str, origin: str, sha256: str, path: str) -> Entry:
        return Entry(Contestant(name, hash, origin), sha256, self.path.parent / path)


def _id(cursor: sqlite3.Cursor) -> int:
    """Of the row that was just written; fetching it to the end lets the statement finish."""
    [[number]] = cursor.fetchall()
    assert isinstance(number, int), number
    return number


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
