"""Clients that go away: their pictures take no step more than one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import time
from contextlib import closing
from pathlib import Path

import pytest

from limner.serve.ledger import Ledger
from limner.serve.orders import State
from tests.serving import GENERATIONS, Serving, request, serving

CLIENTS = int(os.environ.get("LIMNER_CLIENTS", "100"))
STEPS = 100

pytestmark = pytest.mark.stress


def test_nothing_is_left_running_for_clients_that_went(tmp_path: Path, model: str) -> None:
    with serving(tmp_path / "data", [model]) as server:
        asyncio.run(everybody(server))
        before = server.metric("t2i_denoise_steps_total")
        began = time.monotonic()
        server.settle(5.0)
        settled = time.monotonic() - began
        after = server.metric("t2i_denoise_steps_total")
        time.sleep(1.0)
        later = server.metric("t2i_denoise_steps_total")
        handles = server.handles()
        assert server.answers("/healthz/ready")
    with closing(Ledger.open(tmp_path / "data" / "ledger.sqlite")) as ledger:
        states = [job.state for job in ledger.of_key(None, 10 * CLIENTS)]
    print(
        f"{CLIENTS} clients: {len(states)} jobs, {states.count(State.CANCELLED)} cancelled, {states.count(State.DONE)} "
        f"done; {after - before:.0f} steps in {settled:.2f} s after the last one went, and then {later - after:.0f}; "
        f"{handles} handles"
    )
    assert later == after
    assert set(states) <= {State.CANCELLED, State.DONE}
    assert states.count(State.CANCELLED) > CLIENTS / 2


async def everybody(server: Serving) -> None:
    dice = random.Random(3)
    moments = [(dice.random() * 4.0, dice.random() * 1.5, dice.random() < 0.5) for _ in range(CLIENTS)]
    await asyncio.gather(*(one(server, number, *moment) for number, moment in enumerate(moments)))


async def one(server: Serving, number: int, at: float, patience: float, streaming: bool) -> None:
    """Asks at a moment, and breaks the connection a little later, whatever it has heard by then."""
    await asyncio.sleep(at)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = json.dumps(request(number, steps=STEPS, stream=streaming, partial_images=2 * streaming)).encode()
    head = f"POST {GENERATIONS} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    writer.write(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(reader.read(1 << 24), patience)
    writer.transport.abort()
