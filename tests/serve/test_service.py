"""The service without HTTP, on a real ledger: what is accepted is done once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.serve.ledger.places import InSqlite

from limner.core import InputError, parse
from limner.provenance import Settings
from limner.serve.catalogue import Catalogue, UnknownModelError
from limner.serve.faults import Closed, Full, Spent, Unavailable
from limner.serve.ledger import Idempotency, Ledger, Reused
from limner.serve.orders import Job, Order, State
from limner.serve.pictures import Pictures
from limner.serve.service import Service, Terms
from limner.serve.studio.crew import Limits


class Place:
    """Where a service keeps what it has, from one service to the next."""

    def __init__(self, folder: Path, model: str) -> None:
        self.sqlite, self.pictures = InSqlite(folder), Pictures(folder / "pictures", 1 << 30, 1e6)
        self.catalogue = Catalogue.of([model])

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        with closing(Ledger.open(self.sqlite.url)) as found:
            yield found

    def run(self, work: Callable[[Service], Coroutine[Any, Any, Any]], **limits: Any) -> Any:
        """In a service of its own, which draws as long as the work takes."""

        async def go(ledger: Ledger) -> Any:
            terms = Terms(together=4, studio=Limits(**limits))
            service = Service(ledger, self.pictures, self.catalogue, terms)
            async with service:
                return await asyncio.wait_for(work(service), 60)

        with self.ledger() as ledger:
            return asyncio.run(go(ledger))

    def jobs(self) -> list[Job]:
        with self.ledger() as ledger:
            return ledger.of_key(None, 1000)


@pytest.fixture
def place(tmp_path: Path, model: str) -> Place:
    return Place(tmp_path, model)


def order(seed: int = 1, **more: Any) -> Order:
    return Order(model="small", prompt="a red square", seed=seed, knobs={"steps": 2}, **more)


def test_a_picture_is_kept_with_its_settings(place: Place) -> None:
    async def work(service: Service) -> tuple[Job, list[bytes | None]]:
        job = await service.submit(order(count=2), key=None)
        done = await service.finished(job.id)
        return done, [await service.picture(one.digest) for one in done.drawn]

    done, files = place.run(work)
    assert done.state is State.DONE
    assert [parse(Settings, one.settings, "settings").seed for one in done.drawn] == [1, 2]
    assert all(file is not None and file.startswith(b"\x89PNG") for file in files)


def test_what_cannot_be_drawn_is_not_accepted(place: Place) -> None:
    async def work(service: Service) -> None:
        with pytest.raises(UnknownModelError):
            await service.submit(Order(model="nobody", prompt="a", seed=1), key=None)
        with pytest.raises(InputError, match="stepps"):
            await service.submit(Order(model="small", prompt="a", seed=1, knobs={"stepps": 1}), key=None)
        with pytest.raises(InputError, match="mask"):
            await service.submit(order(), key=None, mask=b"x")

    place.run(work)
    assert place.jobs() == []


def test_the_next_service_draws_what_was_left(place: Place) -> None:
    """Three ways to be left: queued, begun, and begun with a picture there."""
    with place.ledger() as ledger:
        names = [ledger.accept(order(seed, count=2), key=None, deadline=1e12)[0].id for seed in (1, 2, 3)]
        ledger.begin(names[1])

    async def half(service: Service) -> None:
        async for event in service.events(names[2]):
            if type(event).__name__ == "Drawn":
                return

    place.run(half)

    async def rest(service: Service) -> list[Job]:
        return [await service.finished(name) for name in names]

    done = place.run(rest)
    assert [job.state for job in done] == [State.DONE] * 3
    assert [[one.index for one in job.drawn] for job in done] == [[0, 1]] * 3
    assert [one.settings["seed"] for job in done for one in job.drawn] == [1, 2, 2, 3, 3, 4]


def test_a_job_whose_image_is_gone_fails(place: Place) -> None:
    with place.ledger() as ledger:
        job, _ = ledger.accept(order(image="0" * 64), key=None, deadline=1e12)

    async def work(service: Service) -> Job | None:
        return await service.job(job.id)

    found = place.run(work)
    assert found.state is State.FAILED
    assert "gone" in found.error


def test_the_same_request_at_once_is_one_job(place: Place) -> None:
    async def work(service: Service) -> set[str]:
        asked = [service.submit(order(), key=None, idempotency=Idempotency("once", "body")) for _ in range(8)]
        jobs = {job.id for job in await asyncio.gather(*asked)}
        with pytest.raises(Reused):
            await service.submit(order(), key=None, idempotency=Idempotency("once", "another"))
        await asyncio.gather(*(service.finished(one) for one in jobs))
        return jobs

    assert len(place.run(work)) == 1
    assert [job.state for job in place.jobs()] == [State.DONE]


def test_a_key_that_has_spent_what_it_may(place: Place) -> None:
    with place.ledger() as ledger:
        key, _ = ledger.keys.add("somebody", rate_per_minute=2)

    async def work(service: Service) -> None:
        await service.submit(order(count=2), key=key)
        with pytest.raises(Spent) as caught:
            await service.submit(order(), key=key)
        assert caught.value.retry_after is not None
        assert 0 < caught.value.retry_after <= 60

    place.run(work)


def test_there_is_room_or_there_is_not(place: Place) -> None:
    async def work(service: Service) -> None:
        with pytest.raises(Full):
            await service.submit(order(count=3), key=None)
        found = await asyncio.gather(*(service.submit(order(), key=None) for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(one, Full) for one in found) >= 3  # at once, no more than there is room for

    place.run(work, waiting=2)
    assert len(place.jobs()) <= 2


def test_who_is_cancelled_at_any_moment_has_asked_for_nothing(place: Place) -> None:
    async def work(service: Service) -> None:
        for moment in range(12):
            asking = asyncio.create_task(service.submit(order(moment, count=10), key=None))
            for _ in range(moment):
                await asyncio.sleep(0.002)
            if asking.done():
                await service.cancel(asking.result().id)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        while service.standing.jobs:
            await asyncio.sleep(0.01)

    place.run(work)
    states = [job.state for job in place.jobs()]
    assert set(states) <= {State.CANCELLED}


def test_a_ledger_that_is_locked_for_a_while_loses_nothing(place: Place) -> None:
    async def work(service: Service) -> Job:
        job = await service.submit(order(count=4), key=None)
        lock = sqlite3.connect(place.sqlite.path, isolation_level=None, check_same_thread=False)
        lock.execute("BEGIN IMMEDIATE")
        threading.Timer(2.0, lambda: (lock.execute("ROLLBACK"), lock.close())).start()
        return await service.finished(job.id)

    assert place.run(work).state is State.DONE


def test_a_ledger_that_is_gone_is_said_and_over_when_it_is_back(place: Place) -> None:
    async def work(service: Service) -> State:
        with place.sqlite.gone(), pytest.raises(Unavailable):
            await service.submit(order(), key=None)
        job = await service.submit(order(), key=None)
        return (await service.finished(job.id)).state

    assert place.run(work) is State.DONE


def test_a_service_that_stops_accepts_nothing_and_says_so_to_who_waits(place: Place) -> None:
    async def work(service: Service) -> None:
        job = await service.submit(order(count=10, previews=1), key=None)
        waiting = asyncio.create_task(service.finished(job.id))
        await asyncio.sleep(0)
        await service.drain(0.0)
        with pytest.raises(Closed):
            await service.submit(order(), key=None)
        with pytest.raises(Closed):
            await waiting

    place.run(work)
    assert [job.state for job in place.jobs()] in ([State.QUEUED], [State.RUNNING])


def test_no_worker_is_left(place: Place) -> None:
    async def work(service: Service) -> list[int]:
        while not service.ready:
            await asyncio.sleep(0.01)
        return [one.pid for one in service.standing.workers]

    pids = place.run(work)
    assert len(pids) == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids) or sys.platform != "linux"
