"""The service under load, over HTTP, with the shipped model: its throughput, its waiting, its start.

    python benchmarks/serving.py throughput [--clients 8] [--seconds 10] [--rounds 12]   many clients against one
    python benchmarks/serving.py waiting [--load 0.8] [--seconds 120]    p95 against drawing first in, first out
    python benchmarks/serving.py start [--rounds 5]                      until it is ready, against `import torch`

Throughput: rounds of one client that asks for one picture after another and of several that do, alternating, on one
server. Waiting: the same arrivals (Poisson, at a share of what the second can do; one picture in four has four times
the steps) sent to a server as it is and to one that draws whole pictures in the order of their coming.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

PROMPTS = ("a red balloon over a meadow", "two blue cars in snow", "a stop sign is flying in blue skies")
LONG, SHORT = 40, 10  # steps
SHARE = 0.25  # of the long ones

# A server that draws whole pictures, one after another, in the order of their coming; or as it usually does.
SERVER = """
import sys
from pathlib import Path
from limner.serve.app import application
from limner.serve.catalogue import Catalogue
from limner.serve.ledger import Ledger
from limner.serve.listening import Address
from limner.serve.pictures import Pictures
from limner.serve.running import run
from limner.serve.seeing.metrics import Metrics
from limner.serve.service import Service, Terms
from limner.serve.studio.limits import Limits

data, kind = Path(sys.argv[1]), sys.argv[2]
address = Address.open("127.0.0.1", 0)
limits = {"usual": Limits(waiting=4096), "fifo": Limits(waiting=4096, held=1.0)}[kind]
terms = Terms(studio=limits, together={"usual": None, "fifo": 1}[kind], waiting=3600.0)
ledger = Ledger.open(data / "ledger.sqlite")
metrics = Metrics()
pictures = Pictures(data / "pictures", 1 << 30, 1e6)
service = Service(ledger, pictures, Catalogue.of(["flow-scenes"]), terms, watch=metrics)
print(address.url, flush=True)
run(application(service, address, metrics), service, address, grace=0.0)
"""


@dataclass(frozen=True)
class Server:
    url: str
    process: subprocess.Popen[str]


@contextlib.contextmanager
def server(kind: str = "usual") -> Iterator[Server]:
    """One that is ready."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", SERVER, folder, kind]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        found = Server(process.stdout.readline().strip().rstrip("/"), process)
        try:
            until_ready(found.url)
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def until_ready(url: str) -> None:
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/healthz/ready", timeout=5).status_code == 200:
                return
        time.sleep(0.02)


async def ask(client: httpx.AsyncClient, seed: int, steps: int = 20) -> float:
    """Seconds until the picture was there."""
    began = time.perf_counter()
    body = {"prompt": PROMPTS[seed % len(PROMPTS)], "seed": seed, "num_inference_steps": steps,
            "response_format": "b64_json"}  # fmt: skip
    answer = await client.post("/v1/images/generations", json=body)
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - began


@contextlib.asynccontextmanager
async def clients(url: str) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:
        yield client


# ---------------------------------------------------------------------------------------------------
# Throughput.


def throughput(count: int, seconds: float, rounds: int) -> dict[str, Any]:
    with server() as found:
        rates = asyncio.run(alternate(found.url, count, seconds, rounds))
    ratios = [many / one for one, many in zip(rates[1], rates[count], strict=True)]
    return {
        "pictures_a_second": {number: statistics.median(found) for number, found in rates.items()},
        "ratios": ratios,
        "ratio": statistics.median(ratios),
    }


async def alternate(url: str, count: int, seconds: float, rounds: int) -> dict[int, list[float]]:
    rates: dict[int, list[float]] = {1: [], count: []}
    async with clients(url) as client:
        for _ in range(4):  # warm
            await asyncio.gather(*(ask(client, seed) for seed in range(count)))
        for _ in range(rounds):
            for number in rates:
                rates[number].append(await rate(client, number, seconds))
    return rates


async def rate(client: httpx.AsyncClient, count: int, seconds: float) -> float:
    """Pictures a second of so many clients, each with one picture at a time."""
    ends = time.perf_counter() + seconds
    done: list[float] = []

    async def one(number: int) -> None:
        while time.perf_counter() < ends:
            await ask(client, 1000 * number + len(done))
            done.append(time.perf_counter())

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    return len(done) / (max(done) - began)


# ---------------------------------------------------------------------------------------------------
# Waiting.


def waiting(load: float, seconds: float) -> dict[str, Any]:
    with server("fifo") as fifo, server() as usual:
        capacity = asyncio.run(mixed(fifo.url))
        arrivals = poisson(load * capacity, seconds)
        found = {name: asyncio.run(arrive(one.url, arrivals)) for name, one in (("fifo", fifo), ("usual", usual))}
    tails = {name: statistics.quantiles(taken, n=20)[-1] for name, taken in found.items()}
    return {
        "capacity_of_fifo": capacity, "pictures": len(arrivals),
        "median": {name: statistics.median(taken) for name, taken in found.items()},
        "p95": tails, "ratio_of_p95": tails["usual"] / tails["fifo"],
    }  # fmt: skip


async def mixed(url: str, count: int = 64) -> float:
    """Pictures of the mix a second, when there is always one that waits."""
    async with clients(url) as client:
        await ask(client, 0)
        steps = [LONG if number < SHARE * count else SHORT for number in range(count)]
        began = time.perf_counter()
        await asyncio.gather(*(ask(client, number, one) for number, one in enumerate(steps)))
    return count / (time.perf_counter() - began)


def poisson(rate: float, seconds: float) -> list[tuple[float, int]]:
    """When, and of how many steps."""
    random.seed(1)
    arrivals, now = [], 0.0
    while (now := now + random.expovariate(rate)) < seconds:
        arrivals.append((now, LONG if random.random() < SHARE else SHORT))
    return arrivals


async def arrive(url: str, arrivals: list[tuple[float, int]]) -> list[float]:
    async with clients(url) as client:
        began = time.perf_counter()

        async def one(number: int, at: float, steps: int) -> float:
            await asyncio.sleep(began + at - time.perf_counter())
            return await ask(client, number, steps)

        return await asyncio.gather(*(one(number, at, steps) for number, (at, steps) in enumerate(arrivals)))


# ---------------------------------------------------------------------------------------------------
# Start.


def start(rounds: int) -> dict[str, Any]:
    """The first round, which warms the disk's cache, is left out."""
    ready, torch = [], []
    for number in range(rounds + 1):
        found = (started(), imported())
        if number:
            ready.append(found[0])
            torch.append(found[1])
    ratios = [one / other for one, other in zip(ready, torch, strict=True)]
    medians = {"ready": statistics.median(ready), "import_torch": statistics.median(torch)}
    return {**medians, "ratios": ratios, "ratio": statistics.median(ratios)}


def started() -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [sys.executable, "-m", "limner", "serve", "--port", "0", "--data", folder]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
        )
        assert process.stdout
        until_ready(process.stdout.readline().split()[0].rstrip("/"))
        taken = time.perf_counter() - began
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    return taken


def imported() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - began


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("what", choices=("throughput", "waiting", "start"))
    arguments.add_argument("--clients", type=int, default=8)
    arguments.add_argument("--seconds", type=float)
    arguments.add_argument("--rounds", type=int)
    arguments.add_argument("--load", type=float, default=0.8)
    asked = arguments.parse_args()
    if asked.what == "throughput":
        found = throughput(asked.clients, asked.seconds or 10.0, asked.rounds or 12)
    elif asked.what == "waiting":
        found = waiting(asked.load, asked.seconds or 120.0)
    else:
        found = start(asked.rounds or 5)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
