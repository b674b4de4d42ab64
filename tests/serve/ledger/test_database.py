"""The place of a ledger: ours or refused, for one server at a time, usable again when the machine's fault is over."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg.errors
import pytest
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError, ProgrammingError

from limner.core import InputError
from limner.serve.ledger import Keys, Ledger, Unavailable, database
from limner.serve.ledger.postgresql import Postgresql
from limner.serve.ledger.sqlite import Sqlite
from limner.serve.orders import State
from tests.serve.disk import full
from tests.serve.ledger.orders import LATE, PLAIN, accepted, picture
from tests.serve.ledger.places import InSqlite, Place


@pytest.fixture(autouse=True)
def short_of_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 0.5)
    monkeypatch.setattr(database, "LETTING_GO", 0.3)


# ---------------------------------------------------------------------------------------------------
# Ours or refused.


def test_tables_are_made_once(place: Place) -> None:
    with closing(Ledger.open(place.url)) as ledger:
        job = accepted(ledger)
    with closing(Ledger.open(place.url)) as again:
        assert [one.id for one in again.unfinished()] == [job.id]
    assert place.run("SELECT count(*), min(version) FROM limner_ledger") == [(1, 1)]


def test_who_opens_a_new_place_at_once_opens_one(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE", 10.0)
    ready = threading.Barrier(8)

    def open_one(_: int) -> Keys:
        ready.wait()
        return Keys.open(place.url)

    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(open_one, range(8)))
    opened[0].add("one")
    assert [len(keys.all()) for keys in opened] == [1] * 8
    for keys in opened:
        keys.close()


def test_a_database_of_another_program_is_refused_and_let_alone(place: Place) -> None:
    place.run("CREATE TABLE jobs (id INTEGER)")
    with pytest.raises(InputError, match="no ledger of Limner's; name another") as refused:
        Ledger.open(place.url)
    one_line(refused)
    assert place.run("SELECT * FROM jobs") == []
    with pytest.raises((sqlite3.OperationalError, psycopg.errors.UndefinedTable)):
        place.run("SELECT * FROM limner_ledger")


def test_a_ledger_of_a_newer_version_is_refused(place: Place) -> None:
    Ledger.open(place.url).close()
    place.run("UPDATE limner_ledger SET version = 2")
    with pytest.raises(InputError, match="in version 2, and this Limner reads 1; update Limner") as refused:
        Ledger.open(place.url)
    one_line(refused)


@pytest.mark.parametrize("content", [b"\x89PNG" + bytes(2000), b"SQLite format 3\0" + bytes(range(256)) * 16])
def test_a_file_that_is_no_database_is_refused_and_let_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be used as a ledger") as refused:
        Ledger.open(path)
    one_line(refused)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["picture.png"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:secret@host/name", "not kept in mysql"),
        ("sqlite://", "in memory would be lost"),
        ("sqlite:///:memory:", "in memory would be lost"),
        ("postgresql://me:secret@127.0.0.1:1/name", "cannot be used as a ledger"),
        ("postgresql://me:secret@127.0.0.1:port/name", "cannot be read"),
        ("postgresql://127.0.0.1:1/name?password=secret", "cannot be used as a ledger"),
        ("postgresql://me:secret@127.0.0.1:1/name?nonsense=1", "invalid connection option"),
        ("/dev/null/ledger.sqlite", "cannot be used as a ledger: "),
    ],
)
def test_an_address_that_cannot_be_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        Ledger.open(url)
    one_line(refused)
    assert "secret" not in str(refused.value)


def test_a_ledger_has_what_people_asked_for_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a b?#%41.sqlite"
    with closing(Ledger.open(f"sqlite:///{quote(str(path))}")) as ledger:
        accepted(ledger)
        assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}
    assert path.exists()


def test_what_is_forgotten_is_not_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    found = []
    for forget in (False, True):
        with closing(Ledger.open(path)) as ledger:
            ledger.cancel(accepted(ledger).id)
            if forget:
                assert ledger.forget(LATE) == 2
        found.append(PLAIN.prompt.encode() in path.read_bytes())
    assert found == [True, False]


def test_what_was_accepted_is_synced(place: Place) -> None:
    with closing(Ledger.open(place.url)) as ledger, ledger._database.reading() as connection:
        if isinstance(place, InSqlite):
            pragmas = [connection.exec_driver_sql(f"PRAGMA {one}").scalar() for one in ("journal_mode", "synchronous")]
            assert [*pragmas, connection.exec_driver_sql("PRAGMA foreign_keys").scalar()] == ["wal", 2, 1]
        else:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
            assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "500ms"


# ---------------------------------------------------------------------------------------------------
# One server at a time.


def test_a_second_server_is_refused_until_the_first_has_ended(place: Place) -> None:
    with closing(Ledger.open(place.url)) as first:
        with pytest.raises(InputError, match="in use by another server; stop it, or name another ledger") as refused:
            Ledger.open(place.url)
        one_line(refused)
        accepted(first)
    with closing(Ledger.open(place.url)) as second:
        assert len(second.recover()) == 1


def test_two_ledgers_are_two(new_place: Callable[[], Place]) -> None:
    with closing(Ledger.open(new_place().url)) as one, closing(Ledger.open(new_place().url)) as other:
        accepted(one)
        assert other.unfinished() == []


def test_a_server_that_lost_its_lock_to_another_writes_nothing_more(place: Place) -> None:
    with closing(Ledger.open(place.url)) as old:
        job = accepted(old)
        assert old.begin(job.id) == 1
        place.lose_lock()
        with closing(Ledger.open(place.url)) as new:
            assert [one.id for one in new.recover()] == [job.id]
            assert new.begin(job.id) == 2
            for write in (
                lambda: accepted(old), lambda: old.add(job.id, 2, picture()), lambda: old.end(job.id, 2, State.DONE),
            ):  # fmt: skip
                with pytest.raises(Unavailable, match=r"another server|other hands"):
                    write()
            assert new.unfinished()[0].drawn == ()
            assert new.end(job.id, 2, State.DONE)
        with pytest.raises(Unavailable, match="other hands"):  # though nobody is there any more
            accepted(old)


def test_a_closed_ledger_writes_nothing(place: Place) -> None:
    ledger = Ledger.open(place.url)
    ledger.close()
    for ask in (lambda: accepted(ledger), ledger.unfinished):
        with pytest.raises(Unavailable, match="closed"):
            ask()


# ---------------------------------------------------------------------------------------------------
# Faults of the machine.


def test_a_ledger_that_is_gone_is_used_again_when_it_is_back(place: Place) -> None:
    with closing(Ledger.open(place.url)) as ledger:
        before = accepted(ledger)
        with place.gone():
            for _ in range(2):
                unavailable(lambda: accepted(ledger))
                unavailable(lambda: ledger.get(before.id))
                unavailable(lambda: ledger.keys.find("lim_"))
        after = accepted(ledger)
        assert [job.id for job in ledger.unfinished()] == [before.id, after.id]
        with pytest.raises(InputError, match="in use"):  # the lock is there again, too
            Ledger.open(place.url)


def test_nobody_is_told_of_a_fault_that_was_over_before(place: Place) -> None:
    with closing(Ledger.open(place.url)) as ledger:
        before = accepted(ledger)
        with place.gone():
            pass
        assert ledger.get(before.id) == before
        accepted(ledger)


def test_a_file_that_is_missed_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(OperationalError):
        Sqlite(tmp_path / "missed", 0.1, 1).engine.connect()
    assert not (tmp_path / "missed").exists()


def test_a_read_only_ledger_is_written_again_when_that_is_over(place: Place) -> None:
    with closing(Ledger.open(place.url)) as ledger:
        before = accepted(ledger)
        with place.read_only(ledger):
            unavailable(lambda: accepted(ledger))
            unavailable(lambda: ledger.begin(before.id))
            assert ledger.get(before.id) == before
        assert ledger.begin(before.id) == 1


def test_a_locked_ledger_is_waited_for_and_then_given_up(place: Place) -> None:
    with closing(Ledger.open(place.url)) as ledger:
        before = accepted(ledger)
        with place.locked():
            unavailable(lambda: accepted(ledger))
            with ThreadPoolExecutor(4) as threads:
                for waiting in [threads.submit(accepted, ledger) for _ in range(4)]:
                    unavailable(waiting.result)
        accepted(ledger)
        assert len(ledger.unfinished()) == 2
        assert ledger.get(before.id) == before


def test_a_full_disk_takes_nothing_and_then_works_again(tmp_path: Path) -> None:
    with closing(Ledger.open(tmp_path / "ledger.sqlite")) as ledger:
        before = accepted(ledger)
        with full((tmp_path / "ledger.sqlite-wal").stat().st_size):
            unavailable(lambda: accepted(ledger))
            unavailable(lambda: ledger.begin(before.id))
        assert [job.id for job in ledger.unfinished()] == [before.id]
        assert ledger.begin(before.id) == 1


def test_a_file_that_was_put_in_its_place_is_not_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.open(tmp_path / "other.sqlite").close()
    with closing(Ledger.open(path)) as ledger:
        accepted(ledger)
        for name in ("ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.sqlite"):
            (tmp_path / name).rename(tmp_path / f"away-{name}")
        path.touch()
        unavailable(lambda: accepted(ledger))
        path.unlink()
        (tmp_path / "other.sqlite").rename(path)
        with pytest.raises(Unavailable, match="other hands"):
            accepted(ledger)


def test_others_write_at_once_and_nobody_is_told_of_a_lock(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with connections of its own, as processes have."""
    monkeypatch.setattr(database, "PATIENCE", 10.0)
    with closing(Ledger.open(place.url)) as ledger:
        opened = [Keys.open(place.url) for _ in range(4)]

        def write(who: int) -> None:
            for number in range(25):
                key, _ = opened[who].add(f"{who} {number}")
                accepted(ledger, key=key.id)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(write, range(4)))
        for keys in opened:
            keys.close()
        assert len(ledger.unfinished()) == len(ledger.keys.all()) == 100


@pytest.mark.parametrize("fault", ["DiskFull", "AdminShutdown", "ReadOnlySqlTransaction", "IoError", "DataCorrupted"])
def test_postgresqls_own_faults_are_known(fault: str) -> None:
    error = getattr(psycopg.errors, fault)()
    kind = OperationalError if isinstance(error, psycopg.OperationalError) else InternalError
    assert in_postgresql().passing(kind("", {}, error))


def test_a_mistake_of_ours_is_no_fault_of_the_machine(ledger: Ledger, place: Place) -> None:
    with pytest.raises(DBAPIError), ledger._database.writing() as connection:
        connection.exec_driver_sql("SELECT nothing FROM nowhere")
    assert not in_postgresql().passing(ProgrammingError("", {}, psycopg.errors.UndefinedTable()))
    with pytest.raises(DBAPIError):
        ledger.accept(PLAIN, key=99, deadline=LATE)  # no such key


def test_a_fault_is_told_in_one_line_without_what_was_asked_for(place: Place) -> None:
    with closing(Ledger.open(place.url)) as ledger, place.locked():
        with pytest.raises(Unavailable) as told:
            accepted(ledger)
        assert PLAIN.prompt not in str(told.value)
        one_line(told)


def in_postgresql() -> Postgresql:
    return Postgresql(database.make_url("postgresql://127.0.0.1/name"), 1.0, 1)


def unavailable(ask: Callable[[], object]) -> None:
    with pytest.raises(Unavailable) as told:
        ask()
    one_line(told)


def one_line(told: pytest.ExceptionInfo[Exception]) -> None:
    assert str(told.value)
    assert "\n" not in str(told.value)
