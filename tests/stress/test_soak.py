"""A mixed load for a long time: nothing breaks, and nothing grows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.serving import GENERATIONS, Serving, request, resident, serving

SECONDS = float(os.environ.get("LIMNER_SOAK_SECONDS", "600"))
CLIENTS = 6
MEMORY, HANDLES = 16 << 20, 8  # that may come and go between the second quarter and the last

pytestmark = pytest.mark.stress


def test_soak(tmp_path: Path, model: str) -> None:
    with serving(tmp_path / "data", [model], "--pictures", "0.05", "--queue", "8") as server:
        codes, seen = asyncio.run(soak(server))
    quarters = np.array_split(np.array(seen, dtype=float), 4)
    growth = quarters[3].mean(axis=0) - quarters[1].mean(axis=0)
    print(
        f"{sum(codes.values())} requests in {SECONDS:.0f} s: {dict(sorted(codes.items()))}; from the second quarter to "
        f"the last {growth[0] / 2**20:+.1f} MiB in the server, {growth[1] / 2**20:+.1f} in its worker, "
        f"{growth[2]:+.1f} handles"
    )
    assert not [code for code in codes if 500 <= code != 503]
    assert codes[200] > 0
    assert codes[400] > 0
    assert growth[0] < MEMORY
    assert growth[1] < MEMORY
    assert growth[2] < HANDLES


async def soak(server: Serving) -> tuple[Counter[int], list[tuple[int, int, int]]]:
    codes: Counter[int] = Counter()
    seen: list[tuple[int, int, int]] = []
    ends = time.monotonic() + SECONDS

    async def watch() -> None:
        while time.monotonic() < ends:
            seen.append((server.memory(), sum(resident(one) for one in server.workers()), server.handles()))
            await asyncio.sleep(SECONDS / 200)

    await asyncio.gather(watch(), *(client(server, number, codes, ends) for number in range(CLIENTS)))
    return codes, seen


async def client(server: Serving, number: int, codes: Counter[int], ends: float) -> None:
    dice = random.Random(number)
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as one:
        while time.monotonic() < ends:
            with contextlib.suppress(httpx.TimeoutException):
                codes[await something(one, dice)] += 1
            await asyncio.sleep(dice.random() * 0.1)


async def something(one: httpx.AsyncClient, dice: random.Random) -> int:
    """What is right, what is wrong, what breaks off, what is large; and what monitoring asks."""
    seed = dice.randrange(10**6)
    bodies = [
        request(seed), request(seed, steps=20, count=2), request(seed, n=0), {"prompt": 7}, {"prompt": "x" * 100_000},
        request(seed, model="nobody"), request(seed, size="100000x100000"),
    ]  # fmt: skip
    choice = dice.random()
    if choice < 0.7:
        return (await one.post(GENERATIONS, json=dice.choice(bodies))).status_code
    if choice < 0.8:
        body = b"\xff" * dice.randrange(1, 1 << 20)
        return (await one.post(GENERATIONS, content=body, headers={"Content-Type": "application/json"})).status_code
    if choice < 0.9:
        with contextlib.suppress(httpx.TimeoutException):
            await one.post(GENERATIONS, json=request(seed, steps=100), timeout=dice.random() * 0.5)
        return 0  # gone before its answer
    return (await one.get(dice.choice(["/metrics", "/healthz/ready", "/v1/models", "/v1/nothing"]))).status_code
