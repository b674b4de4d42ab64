"""The studio draws what it is given: jobs, their events, several models, and when there is no room."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from limner.serve.faults import Closed, Full
from limner.serve.orders import Drawn, State
from limner.serve.studio import commissions
from limner.serve.studio.events import Over, Preview, Progress
from limner.serve.studio.studio import Studio
from tests.serve.studio.keeping import Books
from tests.serve.studio.working import job, over, pids, run, submitted, told, until

DONE = (State.DONE, None)


def test_pictures_are_drawn_together_and_told_step_by_step(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a", count=3, previews=3))
        events = await told(studio, "a")
        assert [one.step for one in events if isinstance(one, Progress) and one.index == 0] == [1, 2, 3, 4]
        assert len([one for one in events if isinstance(one, Preview)]) == 9
        assert sorted(one.index for one in events if isinstance(one, Drawn)) == [0, 1, 2]
        assert events[-1] == Over(state=State.DONE)
        standing = studio.state()
        assert standing.pictures == 3
        assert standing.steps == 12
        assert max(standing.batches) == 3  # the first may have taken a step before the others came

    assert run(work, tmp_path).ends == {"a": DONE}


def test_only_what_is_missing_is_drawn(tmp_path: Path) -> None:
    there = tuple(Drawn(index=index, digest="0" * 64, settings={}) for index in (0, 2))

    async def work(studio: Studio, books: Books) -> None:
        await submitted(studio, replace(job("a", count=3), drawn=there), replace(job("b"), drawn=there[:1]))
        assert await over(studio, "a", "b") == [State.DONE, State.DONE]

    assert run(work, tmp_path).pictures == {"a": [1]}


def test_an_order_is_drawn_upon_its_files(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a", image="1" * 64, mask="2" * 64))
        assert await over(studio, "a") == [State.DONE]
        books.gone = True
        await submitted(studio, job("b", image="1" * 64), job("c"))
        assert await over(studio, "b", "c") == [State.FAILED, State.DONE]

    assert "gone" in str(run(work, tmp_path).ends["b"][1])


def test_files_that_cannot_be_read_now_hold_nobody_else_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commissions, "PAUSE", 0.05)

    async def work(studio: Studio, books: Books) -> None:
        books.unreadable.add("1" * 64)
        await submitted(studio, job("a", image="1" * 64), job("b", image="2" * 64), job("c"))
        assert await over(studio, "b", "c") == [State.DONE, State.DONE]
        assert books.fences["a"] == 0
        books.unreadable.clear()
        assert await over(studio, "a") == [State.DONE]

    run(work, tmp_path)


def test_who_has_stopped_listening_is_forgotten(tmp_path: Path) -> None:
    go = tmp_path / "go"

    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a", f"wait {go}"))
        listeners = [studio.events("a") for _ in range(100)]
        commission = studio._commissions.wanted("a")
        assert commission is not None
        assert len(commission.listeners) == 100
        del listeners[1:]
        assert len(commission.listeners) == 1
        go.touch()
        assert isinstance([event async for event in listeners[0]][-1], Over)

    run(work, tmp_path)


def test_refusing_is_not_failing(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await submitted(studio, *(job(name, name) for name in ("refuse", "fail", "fine")))
        await over(studio, "refuse", "fail", "fine")

    ends = run(work, tmp_path).ends
    assert ends["refuse"] == (State.REFUSED, "it has no such size")
    assert ends["fail"] == (State.FAILED, "it could not be drawn (error 0badc0de)")
    assert ends["fine"] == DONE


def test_what_is_too_much_for_the_wire_is_refused_alone(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await submitted(studio, job("much", "x" * (2 << 20)), job("fine"))
        assert await over(studio, "much", "fine") == [State.REFUSED, State.DONE]
        assert studio.state().falls == {}

    run(work, tmp_path)


def test_a_cancelled_job_is_gone_within_a_step(tmp_path: Path) -> None:
    never = tmp_path / "never"

    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("drawn", f"wait {never}", count=3))
        await submitted(studio, *(job(name, f"wait {never}", key=7, count=10) for name in ("waits", "more")))
        await until(lambda: studio.state().steps and studio.state().waiting)
        assert [await studio.cancel(name) for name in ("waits", "more", "drawn", "drawn")] == [True] * 3 + [False]
        await until(lambda: not studio.state().drawing, 1.0)
        assert studio.state().waiting == 0

    assert set(run(work, tmp_path).ends.values()) == {(State.CANCELLED, None)}


def test_what_waited_for_too_long_is_not_begun(tmp_path: Path) -> None:
    late = time.time() - 1

    async def work(studio: Studio, books: Books) -> None:
        await submitted(studio, *(job(f"late {number}", deadline=late, count=2) for number in range(3)), job("in time"))
        names = ["late 0", "late 1", "late 2", "in time"]
        books.hold("ended")
        ending = asyncio.create_task(over(studio, *names))
        await books.reached()
        assert not await studio.cancel("late 1")  # while the end of another is being written
        books.release()
        assert await ending == [State.EXPIRED] * 3 + [State.DONE]

    assert run(work, tmp_path).fences == {"in time": 1}


def test_a_deadline_holds_until_a_job_is_begun(tmp_path: Path) -> None:
    signal = tmp_path / "signal"

    async def work(studio: Studio, books: Books) -> None:
        deadline = time.time() + 0.6
        await submitted(studio, job("begun", f"wait {signal}", deadline=deadline, count=10))
        await until(lambda: studio.state().steps)
        assert studio.state().waiting > 0
        await asyncio.sleep(max(0.0, deadline - time.time()) + 0.3)
        signal.touch()
        assert await over(studio, "begun") == [State.DONE]

    run(work, tmp_path, held=1.0)


def test_room_is_asked_for_before_anything_is_accepted(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        studio.check(4)
        with pytest.raises(Full):
            studio.check(5)
        await studio.submit(job("a", count=10))  # it was accepted, and finds room
        with pytest.raises(Full):
            studio.check(1)
        assert await over(studio, "a") == [State.DONE]

    run(work, tmp_path, waiting=4)


def test_who_asks_too_late_hears_the_end_and_of_nobody_nothing(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a"))
        await over(studio, "a")
        assert await told(studio, "a") == [Over(state=State.DONE)]
        assert await told(studio, "nobody") == []
        assert studio.knows("a")
        assert not studio.knows("nobody")

    run(work, tmp_path)


def test_it_takes_nothing_once_it_drains(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.drain(0.0)
        with pytest.raises(Closed):
            studio.check(1)
        await studio.submit(job("a"))  # it was being accepted meanwhile
        assert await over(studio, "a") == [State.QUEUED]

    assert run(work, tmp_path).ends == {}


# ---------------------------------------------------------------------------------------------------
# Several models.


def test_two_models_and_memory_for_both(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await submitted(studio, job("a", model="m"), job("b", model="n"))
        await over(studio, "a", "b")
        assert {one.model for one in studio.state().workers} == {"m", "n"}

    run(work, tmp_path)


def test_two_models_and_memory_for_one(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        names = [f"job {number}" for number in range(4)]
        await submitted(studio, *(job(name, model="mn"[number % 2]) for number, name in enumerate(names)))
        assert await over(studio, *names) == [State.DONE] * 4
        assert len(studio.state().workers) == 1

    run(work, tmp_path, memory=150, patience=0.2)


def test_the_one_used_least_leaves_for_a_third(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        for name in "mnm":
            await studio.submit(job(f"first {name}{time.monotonic()}", model=name))
            await until(lambda: not studio.state().jobs)
        await studio.submit(job("third", model="o"))
        await over(studio, "third")
        assert {one.model for one in studio.state().workers} == {"m", "o"}

    # As each says that it has 100; before, it counts as 400 MiB.
    run(work, tmp_path, memory=(400 << 20) + 199)


def test_a_models_turn_comes_though_another_has_more_to_draw_that_came_before(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        many = [f"many {number}" for number in range(15)]
        await submitted(studio, *(job(name, key=1, count=10) for name in many))
        await until(lambda: studio.state().pictures)
        await studio.submit(job("one", model="n", key=2))
        assert await over(studio, "one") == [State.DONE]
        assert sum(len(books.pictures[name]) for name in many) < 120
        assert await over(studio, *many) == [State.DONE] * 15

    run(work, tmp_path, memory=150, patience=0.1, held=1.0)


def test_the_usual_model_has_a_worker_before_anybody_asks_and_again_when_others_are_left_alone(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        def there(model: str) -> bool:
            return [one.model for one in studio.state().workers if one.ready] == [model]

        await until(lambda: there("m"))
        seen = set()
        for number in range(3):
            await studio.submit(job(f"job {number}", model="n"))
            await over(studio, f"job {number}")
            seen |= pids(studio)
            await asyncio.sleep(0.05)
        assert len(seen) == 1  # it was not sent away between them
        await until(lambda: there("m"), 5.0)

    run(work, tmp_path, resident=("m",), memory=150, patience=0.6)
