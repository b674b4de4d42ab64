"""Workers that die, hang, say nonsense or cannot begin take nothing with them but what they were drawing."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from limner.serve.orders import State
from limner.serve.studio import crew
from limner.serve.studio import studio as studios
from limner.serve.studio.studio import Studio
from tests.serve.studio import working
from tests.serve.studio.keeping import Books
from tests.serve.studio.working import alive, job, over, pids, run, submitted, until


def kill(pids: set[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def of(studio: Studio, model: str) -> set[int]:
    return {one.pid for one in studio.state().workers if one.model == model}


def test_a_killed_worker_is_replaced_and_only_its_own_job_is_tried_again(tmp_path: Path) -> None:
    go = tmp_path / "go"

    async def work(studio: Studio, books: Books) -> None:
        await submitted(studio, job("a", f"wait {go}"), job("b", f"wait {go}", model="n"))
        await until(lambda: studio.state().steps == 2)
        kill(of(studio, "m"))
        await until(lambda: studio.state().falls == {"m": 1} and studio.state().steps == 3)
        go.touch()
        assert await over(studio, "a", "b") == [State.DONE, State.DONE]

    books = run(work, tmp_path)
    assert books.fences == {"a": 2, "b": 1}
    assert books.pictures == {"a": [0], "b": [0]}


def test_no_picture_of_a_job_is_given_out_before_it_is_begun_anew(tmp_path: Path) -> None:
    """Not while what its worker had drawn is still being kept."""
    go = tmp_path / "go"

    async def work(studio: Studio, books: Books) -> None:
        books.hold("drawn")
        await studio.submit(job("a", f"second {go}", count=4))
        await books.reached()
        await until(lambda: studio.state().drawing == 2)
        kill(pids(studio))
        await until(lambda: studio.state().falls == {"m": 1} and any(one.ready for one in studio.state().workers))
        await asyncio.sleep(0.1)
        assert (studio.state().drawing, books.fences["a"]) == (0, 1)
        await studio.submit(job("b"))  # others go on meanwhile
        await until(lambda: books.fences["b"] == 1)
        go.touch()
        books.release()
        assert await over(studio, "a", "b") == [State.DONE, State.DONE]

    books = run(work, tmp_path, held=0.5)
    assert sorted(books.pictures["a"]) == [0, 1, 2, 3]
    assert books.fences == {"a": 2, "b": 1}


def test_two_workers_may_die_of_a_job_and_no_more(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a", "wait nothing"))
        for number in (1, 2):
            await until(lambda number=number: studio.state().steps == number)
            kill(pids(studio))
        assert await over(studio, "a") == [State.FAILED]

    books = run(work, tmp_path)
    assert books.states["a"] is State.FAILED
    assert books.fences == {"a": 2}


@pytest.mark.parametrize("word", ["die", "torn", "nonsense"])
def test_what_kills_workers_fails_alone_and_others_go_on(tmp_path: Path, word: str) -> None:
    names = ["good 0", "bad 0", "good 1", "bad 1", "good 2"]

    async def work(studio: Studio, books: Books) -> None:
        await submitted(studio, *(job(name, word if "bad" in name else "a", count=2) for name in names))
        ends = await over(studio, *names)
        assert ends == [State.FAILED if "bad" in name else State.DONE for name in names]
        assert studio.state().falls["m"] <= 4

    books = run(work, tmp_path, falls=10)
    assert all(books.fences[name] == 2 for name in names if "bad" in name)
    assert all(sorted(books.pictures[name]) == [0, 1] for name in names if "good" in name)


def test_silence_is_taken_for_death(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("bad", "hang"))
        assert await over(studio, "bad") == [State.FAILED]
        await studio.submit(job("good"))
        assert await over(studio, "good") == [State.DONE]
        assert studio.state().falls == {"m": 2}

    run(work, tmp_path, silence=0.4)


def test_so_it_is_while_a_model_is_loaded(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a", model="mute"))
        assert await over(studio, "a") == [State.FAILED]

    run(work, tmp_path, silence=0.3, falls=2)


def test_who_had_nothing_to_say_was_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studios, "TICK", 0.01)

    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("first"))
        await over(studio, "first")
        await asyncio.sleep(0.7)
        await studio.submit(job("second", "slow"))
        assert await over(studio, "second") == [State.DONE]
        assert studio.state().falls == {}

    run(work, tmp_path, silence=0.6)


def test_crashes_in_a_loop_come_ever_more_slowly_and_fail_what_waits(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await submitted(studio, job("bad", model="broken", count=3), job("good"))
        began = asyncio.get_running_loop().time()
        assert await over(studio, "bad", "good") == [State.FAILED, State.DONE]
        assert asyncio.get_running_loop().time() - began > 0.1 + 0.2
        assert studio.state().falls == {"broken": 3}
        await studio.submit(job("later", model="broken"))  # one more worker shows whether it is over
        assert await over(studio, "later") == [State.FAILED]
        assert studio.state().falls == {"broken": 4}

    books = run(work, tmp_path, falls=3, backoff=0.1, longest=0.3)
    assert "again and again" in str(books.ends["bad"][1])


@pytest.mark.parametrize("model", ["broken", "unable"])
def test_a_usual_model_that_cannot_be_loaded_keeps_nobody_busy(tmp_path: Path, model: str) -> None:
    async def work(studio: Studio, books: Books) -> None:
        seen: set[int] = set()
        for _ in range(100):
            seen |= pids(studio)
            await asyncio.sleep(0.01)
        assert 1 <= len(seen) <= 3
        await studio.submit(job("good"))
        assert await over(studio, "good") == [State.DONE]

    run(work, tmp_path, resident=(model,), backoff=0.4, longest=2.0)


def test_a_model_that_cannot_be_loaded_fails_its_own_jobs_and_where_it_lies_is_nobodys_business(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await submitted(studio, job("bad", model="unable"), job("good"))
        assert await over(studio, "bad", "good") == [State.FAILED, State.DONE]

    assert run(work, tmp_path).ends["bad"] == (State.FAILED, "unable cannot be loaded now")


@pytest.mark.parametrize("model", ["gone", "no/folder"])
def test_a_model_that_is_gone_fails_its_own_jobs(tmp_path: Path, model: str) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await submitted(studio, job("bad", model=model), job("good"))
        assert await over(studio, "bad", "good") == [State.FAILED, State.DONE]

    run(work, tmp_path, falls=2)


def test_where_no_worker_can_be_started_jobs_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "COMMAND", ("/nobody/has/this",))

    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a"))
        assert await over(studio, "a") == [State.FAILED]

    run(work, tmp_path, falls=2)


def test_who_fails_again_and_again_by_its_own_fault_is_replaced(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        seen = []
        for number in range(crew.FAULTS + 1):
            await studio.submit(job(f"bad {number}", "fail"))
            assert await over(studio, f"bad {number}") == [State.FAILED]
            seen.append(pids(studio))
        await studio.submit(job("good"))
        assert await over(studio, "good") == [State.DONE]
        assert seen[0] == seen[crew.FAULTS - 1]
        assert not pids(studio) & seen[0]
        assert studio.state().falls == {}

    assert run(work, tmp_path).fences["good"] == 1


def test_what_was_given_to_a_worker_that_is_replaced_is_drawn_by_the_next(tmp_path: Path) -> None:
    go = tmp_path / "go"

    async def work(studio: Studio, books: Books) -> None:
        await submitted(studio, job("good", f"wait {go}"), *(job(f"bad {number}", "fail") for number in range(3)))
        await over(studio, *(f"bad {number}" for number in range(3)))
        go.touch()
        assert await over(studio, "good") == [State.DONE]

    books = run(work, tmp_path)
    assert books.fences["good"] == 1  # nobody died of it
    assert books.pictures["good"] == [0]


def test_what_a_worker_has_started_goes_with_it(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a", model="parent"))
        await over(studio, "a")

    run(work, tmp_path)
    child = int((tmp_path / "parent").read_text())
    asyncio.run(until(lambda: not alive(child)))


def test_who_does_not_leave_is_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "GRACE", 0.2)

    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a", model="stubborn"))
        await until(lambda: studio.state().drawing)

    run(work, tmp_path)
