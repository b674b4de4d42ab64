"""Ten times what it can carry: it says no politely, and what it said yes to is done in time."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from tests.serving import Serving, post, request, serving

QUEUE, TIMES = 16, 10
SECONDS = float(os.environ.get("LIMNER_LOAD_SECONDS", "60"))
PATIENCE = 0.5  # seconds of a client that was refused, less than it is told
SLACK = 1.2  # times the bound, which is the time that a full queue takes

pytestmark = pytest.mark.stress


@dataclass
class Seen:
    codes: Counter[int] = field(default_factory=Counter)
    taken: list[float] = field(default_factory=list)  # seconds of what was accepted
    unheaded: int = 0  # refusals without a whole number of seconds
    memory: list[int] = field(default_factory=list)
    accepted: list[float] = field(default_factory=list)  # what waits or is being drawn, from time to time


def test_ten_times_the_queue(tmp_path: Path) -> None:
    with serving(tmp_path / "data", ["flow-scenes"], "--queue", str(QUEUE)) as server:
        rate = asyncio.run(capacity(server))
        seen = asyncio.run(load(server))
        idle = server.metric("t2i_queue_depth")
        told = {code: server.metric("t2i_requests_total", status=str(code)) for code in seen.codes}
    bound = max(seen.accepted) / rate * SLACK
    p99 = float(np.quantile(seen.taken, 0.99))
    half = len(seen.memory) // 2
    growth = np.mean(seen.memory[half:]) - np.mean(seen.memory[:half])
    print(
        f"{sum(seen.codes.values())} requests in {SECONDS:.0f} s, {dict(seen.codes)}; capacity {rate:.1f} a second; "
        f"p99 of the accepted {p99:.2f} s, bound {bound:.2f} s; memory {growth / 2**20:+.1f} MiB between the halves"
    )
    assert set(seen.codes) <= {200, 429, 503}
    assert seen.codes[503] > 0 < seen.codes[200]
    assert seen.unheaded == 0
    assert p99 <= bound
    assert growth < 8 << 20
    assert idle == 0
    assert told[503] >= seen.codes[503]


async def capacity(server: Serving) -> float:
    """Pictures a second, with so many clients that there is always one that waits."""
    for _ in range(2):
        began = time.monotonic()
        answers = await asyncio.gather(*(post(server.port, request(seed)) for seed in range(3 * QUEUE)))
        done = [status for status, _ in answers].count(200)
        taken = time.monotonic() - began
    return done / taken


async def load(server: Serving) -> Seen:
    """So many clients as would fill the queue ten times, each of which asks again at once."""
    seen, ends = Seen(), time.monotonic() + SECONDS

    async def one(number: int) -> None:
        asked = 0
        while time.monotonic() < ends:
            asked += 1
            began = time.monotonic()
            status, headers = await post(server.port, request(1000 * number + asked))
            seen.codes[status] += 1
            if status == 200:
                seen.taken.append(time.monotonic() - began)
            else:
                seen.unheaded += not headers.get("retry-after", "").isdigit()
                await asyncio.sleep(PATIENCE)

    async def watch() -> None:
        while time.monotonic() < ends:
            seen.memory.append(server.memory())
            waiting, drawing = (server.metric(name) for name in ("t2i_queue_depth", "t2i_drawing"))
            seen.accepted.append(waiting + drawing)
            await asyncio.sleep(1.0)

    await asyncio.gather(watch(), *(one(number) for number in range(QUEUE * TIMES)))
    return seen
