"""The service without HTTP, on a real ledger: what is accepted is done once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from limner.core import InputError, parse
from limner.provenance import Settings
from limner.serve import bookkeeper
from limner.serve import service as services
from limner.serve.catalogue import Catalogue, UnknownModelError
from limner.serve.faults import Closed, Full, Spent, Unavailable
from limner.serve.ledger import Idempotency, Key, Ledger, Reused
from limner.serve.orders import Drawn, Job, Order, State
from limner.serve.pictures import Pictures
from limner.serve.service import Service, Terms
from limner.serve.studio import commissions
from limner.serve.studio.limits import Limits
from limner.serve.studio.studio import Studio
from tests.serve.ledger.places import InSqlite
from tests.serve.studio.working import COMMAND, alive, until

ONCE = Idempotency("once", "body")
PNG = b"\x89PNG, as far as anybody here knows"


class Place:
    """Where a service keeps what it has, from one service to the next."""

    def __init__(self, folder: Path, catalogue: Catalogue) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.catalogue = folder, catalogue
        self.sqlite, self.pictures = InSqlite(folder), Pictures(folder / "pictures", 1 << 30, 1e6)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        with closing(Ledger.open(self.sqlite.url)) as found:
            yield found

    def run(self, work: Callable[[Service], Awaitable[Any]], **limits: Any) -> Any:
        """In a service of its own, which draws as long as the work takes, and leaves no process behind."""

        async def go(ledger: Ledger) -> Any:
            terms = Terms(together=4, studio=Limits(backoff=0.02, **limits))
            async with asyncio.timeout(60), Service(ledger, self.pictures, self.catalogue, terms) as service:
                found = await work(service)
                pids = [one.pid for one in service.standing.workers]
            assert not any(alive(pid) for pid in pids)
            return found

        with self.ledger() as ledger:
            return asyncio.run(go(ledger))

    def jobs(self) -> list[Job]:
        with self.ledger() as ledger:
            return ledger.of_key(None, 1000)

    def as_it_is(self) -> Place:
        """All that is on the disk now, as a kill would leave it."""
        copy = Place(self.folder.with_name("copy"), self.catalogue)
        for suffix in ("", "-wal"):
            shutil.copy(f"{self.sqlite.path}{suffix}", f"{copy.sqlite.path}{suffix}")
        if (self.folder / "pictures").exists():
            shutil.copytree(self.folder / "pictures", copy.folder / "pictures")
        return copy


@pytest.fixture
def real(tmp_path: Path, model: str) -> Place:
    return Place(tmp_path / "place", Catalogue.of([model]))


@pytest.fixture
def place(real: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """With workers that obey a script, and no patience."""
    monkeypatch.setattr(services, "Studio", functools.partial(Studio, command=COMMAND))
    monkeypatch.setattr(bookkeeper, "PAUSE", 0.05)
    monkeypatch.setattr(commissions, "PAUSE", 0.05)
    return real


def order(seed: int = 1, prompt: str = "a", **more: Any) -> Order:
    return Order(model="small", prompt=prompt, seed=seed, knobs={"steps": 4}, **more)


async def drawing(service: Service) -> None:
    await until(lambda: service.standing.steps)


async def quiet(service: Service) -> None:
    """Nothing is being drawn, and nothing accepted."""
    await until(lambda: not (service.standing.jobs or service._tasks._going))


# ---------------------------------------------------------------------------------------------------
# What is accepted.


def test_a_picture_is_drawn_and_kept_with_its_settings(real: Place) -> None:
    async def work(service: Service) -> tuple[Job, list[bytes | None]]:
        job = await service.submit(order(count=2), key=None)
        done = await service.finished(job.id)
        assert service.ready
        return done, [await service.picture(one.digest) for one in done.drawn]

    done, files = real.run(work)
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


def test_there_is_room_or_there_is_not(place: Place, tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        with pytest.raises(Full):
            await service.submit(order(count=3), key=None)
        asked = [service.submit(order(prompt=f"wait {tmp_path / 'go'}"), key=None) for _ in range(5)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(one, Full) for one in found) == 3  # at once, no more than there is room for
        (tmp_path / "go").touch()
        await quiet(service)
        assert [job.state for job in await service.jobs(None, limit=9)] == [State.DONE] * 2

    place.run(work, waiting=2)


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


def test_it_says_who_is_there_no_longer(place: Place) -> None:
    async def work(service: Service) -> None:
        with pytest.raises(KeyError):
            await service.finished("nobody")
        with pytest.raises(KeyError):
            await service.cancel("nobody")
        assert await service.job("nobody") is None

    place.run(work)


# ---------------------------------------------------------------------------------------------------
# The same request again.


def keyed(place: Place, **limits: int) -> Key:
    with place.ledger() as ledger:
        return ledger.keys.add("somebody", **limits)[0]


def test_the_same_request_at_once_is_one_job_and_is_paid_once(place: Place) -> None:
    key = keyed(place, rate_per_minute=2)

    async def work(service: Service) -> None:
        asked = [service.submit(order(count=2), key=key, idempotency=ONCE) for _ in range(8)]
        [job] = {job.id for job in await asyncio.gather(*asked)}
        with pytest.raises(Reused):
            await service.submit(order(), key=key, idempotency=Idempotency("once", "another"))
        assert (await service.finished(job)).state is State.DONE
        assert (await service.submit(order(count=2), key=key, idempotency=ONCE)).id == job
        assert service.standing.pictures == 2

    place.run(work)


def test_who_means_to_come_again_is_not_forgotten_when_he_goes(place: Place) -> None:
    async def work(service: Service) -> None:
        asking = asyncio.create_task(service.submit(order(), key=None, idempotency=ONCE))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await quiet(service)
        job = await service.submit(order(), key=None, idempotency=ONCE)
        assert (await service.finished(job.id)).state is State.DONE

    place.run(work)
    assert len(place.jobs()) == 1


def test_who_comes_again_after_the_answer_was_lost_finds_his_job(place: Place) -> None:
    async def work(service: Service) -> None:
        failing(service.ledger, "accept", after=True)
        with pytest.raises(Unavailable):
            await service.submit(order(), key=None, idempotency=ONCE)
        assert [job.state for job in await service.jobs(None, limit=9)] == [State.QUEUED]
        job = await service.submit(order(), key=None, idempotency=ONCE)
        assert (await service.finished(job.id)).state is State.DONE

    place.run(work)
    assert len(place.jobs()) == 1


def test_what_nobody_comes_again_for_does_not_wait_for_ever(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "TIDYING", 0.05)

    async def work(service: Service) -> None:
        service._terms = Terms(waiting=0.2)
        failing(service.ledger, "accept", after=True)
        with pytest.raises(Unavailable):
            await service.submit(order(), key=None)
        [job] = await service.jobs(None, limit=9)
        with pytest.raises(Closed):
            await service.finished(job.id)
        while (await service.jobs(None, limit=9))[0].state is not State.EXPIRED:
            await asyncio.sleep(0.02)

    place.run(work)


# ---------------------------------------------------------------------------------------------------
# Who goes away.


@pytest.mark.parametrize("moment", ["spend", "put", "accept"])
def test_who_goes_at_any_moment_has_asked_for_nothing(place: Place, moment: str) -> None:
    key = keyed(place)

    async def work(service: Service) -> None:
        owner = {"spend": service.ledger.keys, "put": service._pictures, "accept": service.ledger}[moment]
        reached, release = held(owner, moment)
        asking = asyncio.create_task(service.submit(order(count=10), key=key, image=PNG))
        await asyncio.to_thread(reached.wait, 10)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert asking.cancelled()
        release.set()
        await quiet(service)
        assert {job.state for job in await service.jobs(key, limit=9)} <= {State.CANCELLED}
        again = await service.submit(order(count=10), key=key)  # the room is there again
        assert (await service.finished(again.id)).state is State.DONE

    place.run(work, waiting=10)


def test_a_job_is_cancelled_whoever_waits_for_it(place: Place, tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        job = await service.submit(order(prompt=f"wait {tmp_path / 'never'}"), key=None)
        waiting = asyncio.create_task(service.finished(job.id))
        await drawing(service)
        assert await service.cancel(job.id) is State.CANCELLED
        assert (await waiting).state is State.CANCELLED
        assert await service.cancel(job.id) is State.CANCELLED

    place.run(work)


# ---------------------------------------------------------------------------------------------------
# Services that end, and the next.


def test_what_a_killed_service_left_is_drawn_by_the_next_and_nothing_twice(place: Place, tmp_path: Path) -> None:
    async def half(service: Service) -> tuple[str, Place]:
        job = await service.submit(order(count=2, prompt=f"second {tmp_path / 'go'}"), key=None)
        async for event in service.events(job.id):
            if isinstance(event, Drawn):
                break
        waits = await service.submit(order(7), key=None)
        (done,) = [await service.submit(order(9), key=None)]
        assert {waits.state, done.state} == {State.QUEUED}
        return job.id, place.as_it_is()

    name, left = place.run(half, held=0.25)  # one picture at a time
    assert [job.state for job in left.jobs()] == [State.QUEUED, State.QUEUED, State.RUNNING]
    (tmp_path / "go").touch()

    async def rest(service: Service) -> list[Job]:
        await quiet(service)
        assert service.standing.pictures == 3
        return [await service.finished(job.id) for job in await service.jobs(None, limit=9)]

    jobs = {job.id: job for job in left.run(rest)}
    assert {job.state for job in jobs.values()} == {State.DONE}
    assert [one.settings["seed"] for one in jobs[name].drawn] == [1, 2]


def test_what_a_service_that_stops_puts_down_is_drawn_by_the_next(place: Place, tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        job = await service.submit(order(prompt=f"wait {tmp_path / 'go'}"), key=None)
        waiting = asyncio.create_task(service.finished(job.id))
        await drawing(service)
        await service.drain(0.0)
        assert service.draining
        assert not service.ready
        with pytest.raises(Closed):
            await service.submit(order(), key=None)
        with pytest.raises(Closed):
            await waiting

    place.run(work)
    assert [job.state for job in place.jobs()] == [State.RUNNING]
    (tmp_path / "go").touch()
    place.run(quiet)
    assert [job.state for job in place.jobs()] == [State.DONE]


@pytest.mark.parametrize("moment", ["spend", "accept"])
def test_what_is_being_accepted_when_it_stops_is_the_nexts(place: Place, moment: str) -> None:
    key = keyed(place)

    async def work(service: Service) -> None:
        reached, release = held(service.ledger if moment == "accept" else service.ledger.keys, moment)
        asking = asyncio.create_task(service.submit(order(), key=key))
        await asyncio.to_thread(reached.wait, 10)
        stopping = asyncio.create_task(service.drain(0.0))
        await asyncio.sleep(0.05)
        release.set()
        await stopping
        job = await asking
        with pytest.raises(Closed):
            await service.finished(job.id)

    place.run(work)

    async def rest(service: Service) -> list[State]:
        await quiet(service)
        return [job.state for job in await service.jobs(key, limit=9)]

    assert place.run(rest) == [State.DONE]


def test_a_job_whose_image_or_model_is_gone_fails(place: Place) -> None:
    with place.ledger() as ledger:
        image, _ = ledger.accept(order(image="0" * 64), key=None, deadline=1e12)
        model, _ = ledger.accept(Order(model="gone", prompt="a", seed=1), key=None, deadline=1e12)

    async def work(service: Service) -> list[Job]:
        return [await service.finished(job.id) for job in (image, model)]

    found = place.run(work)
    assert [job.state for job in found] == [State.FAILED] * 2
    assert [str(job.error).rpartition(" is ")[2] for job in found] == ["gone", "served no longer"]


def test_a_start_that_fails_leaves_nothing_behind(place: Place) -> None:
    async def go(ledger: Ledger) -> None:
        failing(ledger, "recover")
        service = Service(ledger, place.pictures, place.catalogue)
        with pytest.raises(Unavailable):
            await service.__aenter__()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with place.ledger() as ledger:
        asyncio.run(go(ledger))


# ---------------------------------------------------------------------------------------------------
# A machine at fault.


def failing(owner: object, name: str, *, times: int = 1, after: bool = False) -> None:
    """The method fails so often, `after` it was done if so: then nobody knows that it was."""
    method, left = getattr(owner, name), [times]

    def called(*arguments: Any, **more: Any) -> Any:
        found = method(*arguments, **more) if after or left[0] <= 0 else None
        if left[0] > 0:
            left[0] -= 1
            raise Unavailable("the machine is at fault")
        return found

    setattr(owner, name, called)


def held(owner: object, name: str) -> tuple[threading.Event, threading.Event]:
    """The method waits, the first time: when it is reached, and until it is released."""
    method, reached, release = getattr(owner, name), threading.Event(), threading.Event()

    def called(*arguments: Any, **more: Any) -> Any:
        reached.set()
        release.wait(20)
        return method(*arguments, **more)

    setattr(owner, name, called)
    return reached, release


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("name", ["begin", "add", "end", "requeue", "put", "get"])
def test_a_fault_that_passes_loses_nothing(place: Place, tmp_path: Path, name: str, after: bool) -> None:
    """Whether it was done all the same or not."""
    go = tmp_path / "go"

    async def work(service: Service) -> Job:
        job = await service.submit(order(count=2, prompt=f"wait {go}"), key=None, image=PNG)
        await drawing(service)
        failing(service._pictures if name in ("put", "get") else service.ledger, name, times=3, after=after)
        waits = await service.submit(order(5, prompt="a"), key=None) if name == "begin" else job
        if name == "requeue":
            os.kill(service.standing.workers[0].pid, signal.SIGKILL)
        go.touch()
        assert (await service.finished(waits.id)).state is State.DONE
        return await service.finished(job.id)

    done = place.run(work)
    assert done.state is State.DONE
    assert [one.settings["seed"] for one in done.drawn] == [1, 2]
    place.run(quiet)  # an end that could not be written until the service stopped is written by the next
    assert {job.state for job in place.jobs()} == {State.DONE}


def test_an_end_that_cannot_be_written_is_told_and_written_later(place: Place) -> None:
    async def work(service: Service) -> None:
        failing(service.ledger, "end", times=1)
        job = await service.submit(order(), key=None)
        done = await service.finished(job.id)
        assert done.state is State.DONE
        assert done.finished is not None
        assert [one.index for one in done.drawn] == [0]
        found = await service.job(job.id)
        assert found is not None
        assert found.state is State.RUNNING

    place.run(work)
    assert [job.state for job in place.jobs()] == [State.DONE]


def test_a_ledger_that_is_gone_is_said_and_over_when_it_is_back(place: Place) -> None:
    async def work(service: Service) -> State:
        with place.sqlite.gone(), pytest.raises(Unavailable):
            await service.submit(order(), key=None)
        job = await service.submit(order(), key=None)
        return (await service.finished(job.id)).state

    assert place.run(work) is State.DONE


def test_a_picture_that_the_disk_does_not_take_in_time_fails_its_job_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeper, "PATIENCE", 0.2)

    async def work(service: Service) -> list[State]:
        failing(service._pictures, "put", times=100)
        job = await service.submit(order(), key=None)
        ends = [(await service.finished(job.id)).state]
        del service._pictures.put  # type: ignore[method-assign]
        job = await service.submit(order(), key=None)
        return [*ends, (await service.finished(job.id)).state]

    assert place.run(work) == [State.FAILED, State.DONE]
