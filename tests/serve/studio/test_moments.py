"""Whatever happens to a job, at whatever moment: it comes to one end, its listeners hear it, and the studio goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from limner.serve.orders import State
from limner.serve.studio import commissions, crew
from limner.serve.studio.events import Over
from limner.serve.studio.studio import Studio
from tests.serve.studio.keeping import Books
from tests.serve.studio.working import job, over, pids, run, told, until

HELD = ("files", "began", "drawn", "ended", "lost")
MOMENTS = ("queued", "drawing", *HELD)
ALL = dict.fromkeys(MOMENTS, State.DONE)
BEFORE = dict.fromkeys(("queued", "files", "began", "lost"), State.QUEUED)

# What is done, and how the job is to end that it is done to, if not in one of several ways.
ENDS: dict[str, dict[str, State | None]] = {
    "cancel": {**dict.fromkeys(MOMENTS, State.CANCELLED), "ended": State.DONE},
    "give up cancelling": {**dict.fromkeys(MOMENTS, State.CANCELLED), "ended": State.DONE},
    "kill": {**ALL},
    "drain": {**ALL, **BEFORE},
    "stop": {**ALL, **BEFORE, "drawing": State.QUEUED, "drawn": None},
    "fault": {**dict.fromkeys(HELD, State.DONE), "drawn": State.FAILED},
    "cancel and fault": {**dict.fromkeys(HELD, State.CANCELLED), "ended": State.DONE},
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commissions, "PAUSE", 0.05)
    monkeypatch.setattr(crew, "GRACE", 1.0)


@pytest.mark.parametrize(("what", "moment"), [(what, moment) for what, ends in ENDS.items() for moment in ends])
def test_it_comes_to_one_end(tmp_path: Path, what: str, moment: str) -> None:
    async def work(studio: Studio, books: Books) -> None:
        hearing = await brought(studio, books, moment, tmp_path / "go")
        doing = [asyncio.create_task(one) for one in happening(studio, books, what, moment)]
        await asyncio.sleep(0.03)
        (tmp_path / "go").touch()
        books.release()
        last = (await hearing)[-1]
        await asyncio.gather(*doing, return_exceptions=True)
        assert isinstance(last, Over)
        assert last.state is (ENDS[what][moment] or last.state)
        assert books.states["a"] is last.state or not last.state.over or "fault" in what
        assert books.pictures["a"] == [0] or last.state is not State.DONE
        if what not in ("drain", "stop"):
            await studio.submit(job("good"))
            assert await over(studio, "good") == [State.DONE]

    run(work, tmp_path)


async def brought(studio: Studio, books: Books, moment: str, go: Path) -> asyncio.Task[list[Any]]:
    """The job, which is at this moment, and who listens to it."""
    if moment in HELD:
        books.hold(moment)
    await studio.submit(job("a", f"wait {go}" if moment in ("drawing", "lost") else "a"))
    hearing = asyncio.create_task(told(studio, "a"))
    await asyncio.sleep(0)
    if moment in ("drawing", "lost"):
        await until(lambda: studio.state().steps)
    if moment == "lost":
        kill(studio)
    if moment in HELD:
        await books.reached()
    return hearing


def happening(studio: Studio, books: Books, what: str, moment: str) -> list[Coroutine[Any, Any, Any]]:
    match what:
        case "cancel":
            return [studio.cancel("a")]
        case "give up cancelling":
            return [given_up(studio)]
        case "kill":
            return [killed(studio)]
        case "drain":
            return [studio.drain(20.0)]
        case "stop":
            return [studio.drain(20.0), studio.drain(0.0)]
    books.faults[moment] = 1
    return [studio.cancel("a")] if "cancel" in what else []


async def given_up(studio: Studio) -> None:
    """Who cancels is itself cancelled while it waits for that."""
    cancelling = asyncio.create_task(studio.cancel("a"))
    await asyncio.sleep(0)
    cancelling.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await cancelling


async def killed(studio: Studio) -> None:
    kill(studio)


def kill(studio: Studio) -> None:
    for pid in pids(studio):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
