"""The studio with worker processes that obey a script: who dies, hangs or is cancelled takes nobody with it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limner.canvas import Size
from limner.serve.faults import Closed, Full
from limner.serve.orders import Drawn, Job, Order, State
from limner.serve.studio.crew import Limits, Studio
from limner.serve.studio.events import Event, Over, Preview, Progress
from limner.serve.studio.messages import Load

COMMAND = (sys.executable, "-m", "tests.serve.studio.fake_worker")
QUICK = {"backoff": 0.05, "longest": 0.2}


class Books:
    """A keeper that remembers."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.drawn_: dict[str, list[int]] = {}
        self.ends: dict[str, tuple[State, str | None]] = {}
        self.losses: Counter[str] = Counter()
        self.attempts = 2
        self.broken = 0  # how often `began` fails first

    async def began(self, job: Job) -> int | None:
        if self.broken:
            self.broken -= 1
            raise OSError("the disk is gone")
        self.begun[job.id] += 1
        return self.begun[job.id]

    async def drawn(
        self, job: Job, fence: int, index: int, pixels: bytes, size: Size, settings: Mapping[str, Any]
    ) -> Drawn | None:
        if fence != self.begun[job.id]:
            return None
        self.drawn_.setdefault(job.id, []).append(index)
        return Drawn(index=index, digest="0" * 64, settings=dict(settings))

    async def ended(self, job: Job, fence: int | None, state: State, error: str | None) -> None:
        assert job.id not in self.ends, "it ended twice"
        self.ends[job.id] = (state, error)

    async def lost(self, job: Job, fence: int) -> bool:
        self.losses[job.id] += 1
        return self.losses[job.id] < self.attempts


def job(name: str, prompt: str = "a", *, model: str = "m", key: int | None = None, deadline: float | None = None,
        **order: Any) -> Job:  # fmt: skip
    asked = Order(model=model, prompt=prompt, seed=1, **order)
    return Job(id=name, order=asked, key=key, state=State.QUEUED, fence=0, accepted=time.time(),
               deadline=time.time() + 60 if deadline is None else deadline)  # fmt: skip


def run(work: Callable[[Studio, Books], Coroutine[Any, Any, None]], tmp_path: Path, **limits: Any) -> Books:
    """With models that are empty files, in a studio that leaves no process behind."""
    books = Books()

    def load(model: str) -> Load:
        (tmp_path / model).touch()
        return Load(model=str(tmp_path / model))

    async def go() -> None:
        pids = set()
        async with Studio(books, limits=Limits(**{**QUICK, **limits}), command=COMMAND, load=load) as studio:
            working = asyncio.create_task(work(studio, books))
            while not working.done():
                pids |= {one.pid for one in studio.state().workers}
                await asyncio.sleep(0.01)
            await working
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)

    asyncio.run(asyncio.wait_for(go(), 60))
    return books


async def over(studio: Studio, *names: str) -> dict[str, list[Event]]:
    """All that is told of the jobs."""

    async def hear(name: str) -> list[Event]:
        return [event async for event in studio.events(name)]

    heard = await asyncio.gather(*(hear(name) for name in names))
    return dict(zip(names, heard, strict=True))


def test_pictures_are_drawn_together_and_told_step_by_step(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a", count=3, previews=3))
        told = (await over(studio, "a"))["a"]
        assert [one.step for one in told if isinstance(one, Progress) and one.index == 0] == [1, 2, 3, 4]
        assert len([one for one in told if isinstance(one, Preview)]) == 9
        assert sorted(one.index for one in told if isinstance(one, Drawn)) == [0, 1, 2]
        assert told[-1] == Over(state=State.DONE)
        standing = studio.state()
        assert standing.pictures == 3
        assert max(standing.batches) == 3

    books = run(work, tmp_path)
    assert books.ends == {"a": (State.DONE, None)}


def test_only_what_is_missing_is_drawn(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        there = tuple(Drawn(index=index, digest="0" * 64, settings={}) for index in (0, 2))
        await studio.submit(replace(job("a", count=3), drawn=there))
        await studio.submit(replace(job("b", count=1), drawn=there[:1]))
        await over(studio, "a", "b")

    books = run(work, tmp_path)
    assert books.drawn_ == {"a": [1]}
    assert books.ends["b"] == (State.DONE, None)


def test_what_kills_a_worker_fails_alone_and_others_go_on(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        for name, prompt in (("good", "slow"), ("bad", "die"), ("late", "a")):
            await studio.submit(job(name, prompt))
        await over(studio, "good", "bad", "late")

    books = run(work, tmp_path, attempts=5)
    assert books.ends["good"][0] is books.ends["late"][0] is State.DONE
    assert books.ends["bad"][0] is State.FAILED
    assert "broke off" in (books.ends["bad"][1] or "")
    assert books.begun["bad"] == 2
    assert books.begun["good"] <= 2


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a", "slow"))
        while not studio.state().steps:
            await asyncio.sleep(0.01)
        [worker] = studio.state().workers
        os.kill(worker.pid, 9)
        told = (await over(studio, "a"))["a"]
        assert told[-1] == Over(state=State.DONE)
        assert studio.state().falls == {"m": 1}

    books = run(work, tmp_path)
    assert books.begun["a"] == 2
    assert books.drawn_["a"] == [0]


@pytest.mark.parametrize("prompt", ["hang", "nonsense"])
def test_who_is_silent_or_says_nonsense_is_taken_for_dead(tmp_path: Path, prompt: str) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("bad", prompt))
        await over(studio, "bad")
        await studio.submit(job("good"))
        await over(studio, "good")

    books = run(work, tmp_path, silence=6.0)
    assert books.ends["bad"][0] is State.FAILED
    assert books.ends["good"][0] is State.DONE


def test_refusing_is_not_failing(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        for name in ("refuse", "fail", "fine"):
            await studio.submit(job(name, name))
        await over(studio, "refuse", "fail", "fine")

    books = run(work, tmp_path)
    assert books.ends["refuse"] == (State.REFUSED, "it has no such size")
    assert books.ends["fail"][0] is State.FAILED
    assert "0badc0de" in (books.ends["fail"][1] or "")
    assert books.ends["fine"] == (State.DONE, None)


def test_a_cancelled_job_is_gone_within_a_step(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a", "slow", count=3))
        await studio.submit(job("waits", "slow", key=7, count=10))
        while not studio.state().steps:
            await asyncio.sleep(0.01)
        assert await studio.cancel("waits")
        assert await studio.cancel("a")
        assert not await studio.cancel("a")
        began = time.monotonic()
        while studio.state().drawing:
            await asyncio.sleep(0.01)
        assert time.monotonic() - began < 1.5  # a step of three slow ones, at most of four
        steps = studio.state().steps
        await asyncio.sleep(0.5)
        assert studio.state().steps == steps
        assert studio.depth == 0

    books = run(work, tmp_path)
    assert books.ends == {"a": (State.CANCELLED, None), "waits": (State.CANCELLED, None)}


def test_two_models_and_memory_for_one(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        for number in range(4):
            await studio.submit(job(f"job {number}", model="mn"[number % 2]))
        await over(studio, *(f"job {number}" for number in range(4)))
        assert len(studio.state().workers) == 1

    books = run(work, tmp_path, memory=150, patience=0.2)
    assert {state for state, _ in books.ends.values()} == {State.DONE}


def test_two_models_and_memory_for_both(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a", model="m"))
        await studio.submit(job("b", model="n"))
        await over(studio, "a", "b")
        assert {one.model for one in studio.state().workers} == {"m", "n"}

    run(work, tmp_path)


def test_a_model_that_cannot_be_loaded_fails_its_own_jobs(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("bad", model="unable"))
        await studio.submit(job("good"))
        await over(studio, "bad", "good")

    books = run(work, tmp_path)
    assert books.ends["bad"] == (State.FAILED, "unable cannot be loaded now")  # and where it lies is nobody's business
    assert books.ends["good"] == (State.DONE, None)


def test_what_waited_for_too_long_is_not_begun(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("late", deadline=time.time() - 1))
        await studio.submit(job("in time"))
        await over(studio, "late", "in time")

    books = run(work, tmp_path)
    assert books.ends["late"] == (State.EXPIRED, None)
    assert books.begun["late"] == 0


def test_a_keeper_that_cannot_write_is_asked_again(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        books.broken = 1
        await studio.submit(job("a"))
        await over(studio, "a")

    assert run(work, tmp_path).ends["a"] == (State.DONE, None)


def test_room_is_asked_for_before_anything_is_accepted(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        studio.check(4)
        with pytest.raises(Full):
            studio.check(5)
        await studio.submit(job("a", "slow", count=10))  # it was accepted, and finds room
        assert (await over(studio, "a"))["a"][-1] == Over(state=State.DONE)

    run(work, tmp_path, waiting=4)


def test_a_drain_finishes_what_was_begun_and_puts_the_rest_down(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("begun", "slow"))
        while not studio.state().steps:
            await asyncio.sleep(0.01)
        await studio.submit(job("waits", model="n"))
        hearing = asyncio.create_task(over(studio, "begun", "waits"))
        await asyncio.sleep(0)
        await studio.drain(30.0)
        told = await hearing
        assert told["begun"][-1] == Over(state=State.DONE)
        assert told["waits"][-1] == Over(state=State.QUEUED)
        with pytest.raises(Closed):
            studio.check(1)

    books = run(work, tmp_path)
    assert books.ends == {"begun": (State.DONE, None)}


def test_a_drain_without_grace_puts_everything_down(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("begun", "slow"))
        while not studio.state().steps:
            await asyncio.sleep(0.01)
        hearing = asyncio.create_task(over(studio, "begun"))
        await asyncio.sleep(0)
        await studio.drain(0.0)
        assert (await hearing)["begun"][-1] == Over(state=State.QUEUED)

    books = run(work, tmp_path)
    assert books.ends == {}
    assert books.losses == {}


def test_who_asks_too_late_hears_the_end_and_of_nobody_nothing(tmp_path: Path) -> None:
    async def work(studio: Studio, books: Books) -> None:
        await studio.submit(job("a"))
        await over(studio, "a")
        told = await over(studio, "a", "nobody")
        assert told == {"a": [Over(state=State.DONE)], "nobody": []}

    run(work, tmp_path)
