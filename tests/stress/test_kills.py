"""The server and its workers are killed at any moment, under load: no accepted job is lost, and none is done twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from limner.serve.ledger import Ledger
from limner.serve.ledger.tables import drawn, jobs, repeats
from limner.serve.orders import State
from tests.serve.ledger.places import Cluster, InPostgresql, cluster
from tests.serving import GENERATIONS, Serving, request

KILLS = int(os.environ.get("LIMNER_KILLS", "50"))
CLIENTS = 8

pytestmark = pytest.mark.stress


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Cluster]:
    with cluster() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return InPostgresql(request.getfixturevalue("postgresql")).url
    return str(tmp_path / "data" / "ledger.sqlite")


def test_a_server_that_is_killed(tmp_path: Path, model: str, ledger_url: str) -> None:
    told = asyncio.run(under_load(tmp_path / "data", model, ledger_url, kill_server))
    found = counted(ledger_url)
    print(f"{KILLS} kills of the server: {told.answered} answered of {told.asked}, {dict(found)}")
    check(found, told)


def test_a_worker_that_is_killed(tmp_path: Path, model: str, ledger_url: str) -> None:
    told = asyncio.run(under_load(tmp_path / "data", model, ledger_url, kill_worker))
    found = counted(ledger_url)
    print(f"{KILLS} kills of a worker: {told.answered} answered of {told.asked}, {dict(found)}")
    check(found, told)


def check(found: Counter[str], told: Told) -> None:
    assert found["jobs"] == found["requests"]  # each request is one job, however often it was sent
    assert found[State.DONE] == found["jobs"] - found[State.FAILED]
    assert found["pictures"] == found["whole"]
    assert told.answered >= found[State.DONE] - CLIENTS
    assert found[State.FAILED] == told.failed  # a job that two workers died of says so; none ended otherwise


class Told:
    """What the clients heard."""

    def __init__(self) -> None:
        self.asked = self.answered = self.failed = 0


async def under_load(data: Path, model: str, ledger_url: str, kill: object) -> Told:
    told, ended = Told(), asyncio.Event()
    server = Serving(data, [model], ["--ledger", ledger_url] if "://" in ledger_url else [])
    server.start()
    clients = [asyncio.create_task(ask(server, number, told, ended)) for number in range(CLIENTS)]
    dice = random.Random(5)
    for _ in range(KILLS):
        await asyncio.to_thread(kill, server, dice)  # type: ignore[arg-type]
    ended.set()
    await asyncio.wait_for(asyncio.gather(*clients), 120)
    await asyncio.to_thread(server.settle, 120.0)
    assert await asyncio.to_thread(server.stop) == 0
    return told


def kill_server(server: Serving, dice: random.Random) -> None:
    """It, and not its workers, who have to notice; before it draws anything, now and then."""
    time.sleep(dice.random() * 5.0)
    workers = server.workers()
    server.kill()
    ends = time.monotonic() + 20
    while any(alive(one) for one in workers):
        assert time.monotonic() < ends, "a worker outlived its server"
        time.sleep(0.02)
    server.start()


def alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def kill_worker(server: Serving, dice: random.Random) -> None:
    """While it loads, now and then."""
    if dice.random() < 0.8:
        server.ready()
    time.sleep(dice.random() * 1.5)
    for worker in server.workers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)


async def ask(server: Serving, number: int, told: Told, ended: asyncio.Event) -> None:
    """One request after another, each until it is answered; what does not come back is sent again."""
    asked = 0
    async with httpx.AsyncClient(timeout=60) as client:
        while not ended.is_set():
            asked += 1
            told.asked += 1
            name = f"client-{number}-{asked}"
            while True:
                status = await once(client, server, name, 1000 * number + asked)
                if status in (200, 500):
                    break
                await asyncio.sleep(0.1)
            told.answered += status == 200
            told.failed += status == 500


async def once(client: httpx.AsyncClient, server: Serving, name: str, seed: int) -> int:
    """The answer's status; 0 where there is none."""
    body = request(seed, steps=20, count=1 + seed % 2)
    with contextlib.suppress(httpx.TransportError):
        answer = await client.post(server.url + GENERATIONS, json=body, headers={"Idempotency-Key": name})
        assert answer.status_code in (200, 429, 500, 503), answer.text
        return answer.status_code
    return 0


def counted(ledger_url: str) -> Counter[str]:
    """What the ledger has in the end."""
    with closing(Ledger.open(ledger_url)) as ledger:
        assert not ledger.unfinished()
        with ledger._database.reading() as connection:
            found: Counter[str] = Counter()
            for state, count in connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state)):
                found[state] = count
            found["jobs"] = connection.scalar(select(func.count()).select_from(jobs)) or 0
            found["requests"] = connection.scalar(select(func.count()).select_from(repeats)) or 0
            found["pictures"] = connection.scalar(
                select(func.count()).select_from(drawn.join(jobs, jobs.c.number == drawn.c.job)).where(
                    jobs.c.state == State.DONE
                )
            ) or 0  # fmt: skip
            found["whole"] = connection.scalar(
                select(func.sum(jobs.c.pictures)).where(jobs.c.state == State.DONE)
            ) or 0  # fmt: skip
    return found
