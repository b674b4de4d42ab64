"""A studio with workers that obey a script, and jobs for it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from limner.serve.orders import Job, Order, State
from limner.serve.studio.events import Event, Over
from limner.serve.studio.limits import Limits
from limner.serve.studio.messages import Load
from limner.serve.studio.studio import Studio
from tests.serve.studio.keeping import Books

COMMAND = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
USUAL: dict[str, Any] = {"backoff": 0.02, "longest": 0.1}

Work = Callable[[Studio, Books], Awaitable[None]]


def job(
    name: str, prompt: str = "a", *, model: str = "m", key: int | None = None, deadline: float | None = None,
    **order: Any,
) -> Job:  # fmt: skip
    asked = Order(model=model, prompt=prompt, seed=1, **order)
    return Job(id=name, order=asked, key=key, state=State.QUEUED, fence=0, accepted=time.time(),
               deadline=time.time() + 60 if deadline is None else deadline)  # fmt: skip


def run(work: Work, folder: Path, *, resident: tuple[str, ...] = (), **limits: Any) -> Books:
    """With models that are empty files, in a studio that leaves nothing behind: no process, no task, no job."""
    books = Books()

    def load(model: str) -> Load:
        if model != "gone":
            (folder / model).touch()
        return Load(model=str(folder / model))

    async def go() -> None:
        known: set[int] = set()
        studio = Studio(books, limits=Limits(**{**USUAL, **limits}), command=COMMAND, load=load, resident=resident)
        async with asyncio.timeout(60), studio:
            working = asyncio.ensure_future(work(studio, books))
            while not working.done():
                known |= pids(studio)
                await asyncio.wait({working}, timeout=0.01)
            await working
        assert [one for one in known if alive(one)] == []
        assert (studio.state().jobs, studio.state().waiting) == (0, 0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(go())
    return books


def pids(studio: Studio) -> set[int]:
    return {one.pid for one in studio.state().workers}


def alive(pid: int) -> bool:
    """One that is dead, and of which only its parent has not heard, is not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it takes too long"
        await asyncio.sleep(0.005)


async def submitted(studio: Studio, *jobs: Job) -> None:
    for one in jobs:
        await studio.submit(one)


async def told(studio: Studio, name: str) -> list[Event]:
    """All that is told of a job until it is over."""
    return await asyncio.wait_for(_heard(studio, name), 20)


async def _heard(studio: Studio, name: str) -> list[Event]:
    return [event async for event in studio.events(name)]


async def over(studio: Studio, *names: str) -> list[State]:
    """How these jobs ended."""
    heard = await asyncio.gather(*(told(studio, name) for name in names))
    last = [one[-1] for one in heard]
    assert all(isinstance(one, Over) for one in last)
    return [one.state for one in last if isinstance(one, Over)]
