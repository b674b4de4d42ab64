"""The file of votes: once is once, what was said to count is on the disk, and other files are let alone."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from limner.core import InputError
from limner.evaluate.arena.records import Contestant
from limner.evaluate.arena.subjects import Subject
from limner.evaluate.arena.votes import Votes
from tests.drawn import drawn
from tests.evaluate.arena.voter import Voters

KILLS = 12
APPLE = Subject("a red apple on a beach", 0)


@pytest.fixture
def votes(tmp_path: Path) -> Iterator[Votes]:
    """Two contestants with a picture each, hung in session 1; the pictures are number 1 and 2."""
    with closing(Votes(tmp_path / "votes.sqlite")) as found:
        assert found.begin() == 1
        for name in ("one", "two"):
            path = drawn(tmp_path / name, [APPLE.prompt]) / "0.png"
            found.hang(1, Contestant(name, f"hash of {name}", name), [(APPLE, path)])
        yield found


def test_a_vote_is_told_with_all_that_is_known_of_it(votes: Votes, tmp_path: Path) -> None:
    token = votes.show(2, 1)
    assert votes.showing(token).choice is None
    assert votes.cast(1, token, "right") == "right"
    assert votes.showing(token).choice == "right"
    [vote] = votes
    assert (vote.token, vote.choice, vote.session, vote.subject) == (token, "right", 1, APPLE)
    assert (vote.left.contestant.name, vote.right.contestant.name) == ("two", "one")
    assert vote.left.path == tmp_path / "two" / "0.png"
    assert vote.shown <= vote.decided
    assert vote.to_json()["prompt"] == APPLE.prompt


def test_a_vote_counts_once_and_the_first_one_stands(votes: Votes) -> None:
    token = votes.show(1, 2)
    assert [votes.cast(1, token, choice) for choice in ("left", "left", "right")] == ["left", "left", "left"]
    assert len(votes) == 1
    [candidate] = votes.candidates(1)
    assert (candidate.one, candidate.other, candidate.votes) == (1, 2, 1)


def test_a_finished_session_takes_no_vote_and_the_next_one_does(votes: Votes) -> None:
    before, late = votes.show(1, 2), votes.show(1, 2)
    votes.cast(1, before, "tie")
    votes.finish(1)
    assert votes.finished(1)
    assert votes.cast(1, late, "left") is None
    assert votes.cast(1, before, "tie") == "tie"
    assert len(votes) == 1
    assert votes.cast(votes.begin(), late, "left") == "left"
    assert [vote.session for vote in votes] == [1, 2]


def test_a_vote_on_nothing_is_no_vote(votes: Votes) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        votes.cast(1, "no such token", "left")
    assert len(votes) == 0


def test_the_same_pictures_are_the_same_the_next_time(votes: Votes, tmp_path: Path) -> None:
    """Under a new name, too; a picture that has changed is another one."""
    votes.cast(1, votes.show(1, 2), "left")
    again, path = votes.begin(), tmp_path / "one" / "0.png"
    votes.hang(again, Contestant("renamed", "hash of one", "elsewhere"), [(APPLE, path)])
    votes.hang(again, Contestant("two", "hash of two", "two"), [(APPLE, tmp_path / "two" / "0.png")])
    assert [candidate.votes for candidate in votes.candidates(again)] == [1]
    assert [vote.left.contestant.name for vote in votes] == ["renamed"]
    shutil.copy(tmp_path / "two" / "0.png", path)
    changed = votes.begin()
    votes.hang(changed, Contestant("renamed", "hash of one", "elsewhere"), [(APPLE, path)])
    votes.hang(changed, Contestant("two", "hash of two", "two"), [(APPLE, tmp_path / "two" / "0.png")])
    assert [candidate.votes for candidate in votes.candidates(changed)] == [0]


def test_only_pictures_of_one_subject_meet(votes: Votes, tmp_path: Path) -> None:
    other = drawn(tmp_path / "three", ["two cats", APPLE.prompt, APPLE.prompt])
    subjects = [Subject("two cats", 0), Subject(APPLE.prompt, 1), Subject(APPLE.prompt, 2)]
    pictures = [(subject, other / f"{number}.png") for number, subject in enumerate(subjects)]
    votes.hang(1, Contestant("three", "hash of three", "three"), pictures)
    assert len(votes.candidates(1)) == 1


def test_a_moved_folder_finds_its_pictures(votes: Votes, tmp_path: Path) -> None:
    token = votes.show(1, 2)
    votes.close()
    moved = tmp_path.with_name(f"{tmp_path.name}-moved")
    tmp_path.rename(moved)
    with closing(Votes(moved / "votes.sqlite", create=False)) as found:
        showing = found.showing(token)
        assert showing.left.path.is_file()
        assert showing.right.path.is_file()
    moved.rename(tmp_path)


def test_many_threads_of_two_processes_worth_vote_at_once(votes: Votes) -> None:
    """Each file handle has its own connection, as two processes would."""
    with closing(Votes(votes.path)) as other, ThreadPoolExecutor(8) as pool:

        def work(number: int) -> str:
            mine = (votes, other)[number % 2]
            token = mine.show(1, 2)
            mine.cast(1, token, "left")
            return token

        tokens = list(pool.map(work, range(80)))
    assert {vote.token for vote in votes} == set(tokens)
    assert len(votes) == 80


def test_what_a_killed_process_said_to_count_is_there(votes: Votes) -> None:
    """SIGKILL at random moments, most of them in the middle of a vote; at most the one that was under way is more."""
    voters, moments, said = Voters(), random.Random(3), {}
    try:
        for _ in range(KILLS):
            number = voters.start(votes.path)
            token, choice = voters.line()
            said[token] = choice
            time.sleep(moments.uniform(0, 0.05))
            os.kill(number, signal.SIGKILL)
            while (line := voters.line())[0] != "dead":
                said[line[0]] = line[1]
            assert line == ["dead", str(-signal.SIGKILL)]
            found = {vote.token: vote.choice for vote in votes}
            assert said.items() <= found.items()
    finally:
        voters.close()
    assert len(said) >= KILLS
    assert len(found) <= len(said) + KILLS
    with closing(sqlite3.connect(votes.path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA journal_mode").fetchall() == [("wal",)]


def test_each_transaction_is_synced_before_it_is_over(votes: Votes) -> None:
    """A kill does not show it, since the system keeps what a dead process wrote; a loss of power would."""
    assert votes._rows("PRAGMA synchronous") == [(2,)]
    assert votes._rows("PRAGMA foreign_keys") == [(1,)]


def test_a_full_disk_is_told_and_forgotten_when_there_is_room(votes: Votes) -> None:
    [[pages]] = votes._rows("PRAGMA page_count")
    votes._rows(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        while True:
            votes.cast(1, votes.show(1, 2), "left")

    with pytest.raises(OSError, match="full") as caught:
        fill()
    assert caught.value.filename == str(votes.path)
    kept = len(votes)
    votes._rows(f"PRAGMA max_page_count = {pages + 100}")
    assert votes.cast(1, votes.show(1, 2), "tie") == "tie"
    assert len(votes) == kept + 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no database at all, but long enough to be one" * 30, "not a database"),
        ("CREATE TABLE people (name TEXT)", "not one of votes"),
        ("PRAGMA application_id = 7", "not one of votes"),
        (f"PRAGMA application_id = {0x4C415645}; PRAGMA user_version = 2", "version 2"),
    ],
)
def test_other_files_are_refused_and_left_alone(tmp_path: Path, content: bytes | str, said: str) -> None:
    path = tmp_path / "votes.sqlite"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with closing(sqlite3.connect(path)) as db:
            db.executescript(content)
    before = path.read_bytes()
    with pytest.raises(InputError, match=said):
        Votes(path)
    assert path.read_bytes() == before


def test_a_table_needs_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Votes(tmp_path / "votes.sqlite", create=False)
    with pytest.raises(InputError, match="cannot be used"):
        Votes(tmp_path)
    assert list(tmp_path.iterdir()) == []
