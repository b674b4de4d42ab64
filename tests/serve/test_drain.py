"""A server that is told to stop finishes what it has begun, begins nothing more, and leaves nothing behind."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from limner.serve.ledger import Ledger
from limner.serve.orders import State
from tests.serving import GENERATIONS, Serving, children, request

LONG, SHORT = 1000, 200  # steps: seconds, and a part of one


@pytest.fixture
def server(tmp_path: Path, model: str, request: pytest.FixtureRequest) -> Iterator[Serving]:
    """With as many seconds of grace as the test is marked with."""
    grace = request.node.get_closest_marker("grace")
    found = Serving(tmp_path / "data", [model], ["--grace", str(grace.args[0])])
    found.start()
    found.ready()
    yield found
    found.kill()


class Asking:
    """A request on its way, in a thread of its own."""

    def __init__(self, server: Serving, body: dict[str, Any]) -> None:
        self.answer: httpx.Response | None = None
        self.broken = False
        self._thread = threading.Thread(target=self._ask, args=(server, body))
        self._thread.start()

    def _ask(self, server: Serving, body: dict[str, Any]) -> None:
        try:
            self.answer = httpx.post(server.url + GENERATIONS, json=body, timeout=60)
        except httpx.TransportError:
            self.broken = True

    def done(self) -> httpx.Response | None:
        self._thread.join(60)
        return self.answer


def begun(server: Serving, *bodies: dict[str, Any]) -> list[Asking]:
    """Requests of which at least one is being drawn."""
    found = [Asking(server, body) for body in bodies]
    Serving._until(lambda: server.metric("t2i_denoise_steps_total") > 0)
    return found


def told(server: Serving) -> None:
    assert server.process
    server.process.send_signal(signal.SIGTERM)


def states(server: Serving) -> list[State]:
    with closing(Ledger.open(server.data / "ledger.sqlite")) as ledger:
        return [job.state for job in ledger.of_key(None, 100)]


@pytest.mark.grace(30)
def test_what_was_begun_is_finished(server: Serving) -> None:
    [asking] = begun(server, request(1, steps=SHORT))
    told(server)
    answer = asking.done()
    assert answer is not None
    assert answer.status_code == 200
    assert server.process
    assert server.process.wait(30) == 0
    assert states(server) == [State.DONE]


@pytest.mark.grace(30)
def test_what_comes_then_is_refused_and_readiness_says_so_at_once(server: Serving) -> None:
    [asking] = begun(server, request(1, steps=LONG))
    told(server)
    began = time.monotonic()
    Serving._until(lambda: httpx.get(f"{server.url}/healthz/ready", timeout=5).status_code == 503, 5.0)
    flipped = time.monotonic() - began
    refused = httpx.post(server.url + GENERATIONS, json=request(2), timeout=5)
    assert refused.status_code == 503
    assert refused.headers["retry-after"].isdigit()
    assert server.answers("/healthz/live")
    assert flipped < 1.0
    answer = asking.done()
    assert answer is not None
    assert answer.status_code == 200
    assert server.process
    assert server.process.wait(30) == 0


@pytest.mark.grace(0.3)
def test_what_takes_longer_than_the_grace_is_kept_for_the_next_server(server: Serving) -> None:
    [asking] = begun(server, request(1, steps=LONG, n=4))
    told(server)
    began = time.monotonic()
    assert server._ended(30) == 0
    assert time.monotonic() - began < 8.0
    answer = asking.done()
    assert answer is None or (answer.status_code == 503 and answer.headers["retry-after"].isdigit())
    assert states(server) == [State.RUNNING]
    server.start()
    server.ready()
    server.settle()
    assert server.stop() == 0
    assert states(server) == [State.DONE]


@pytest.mark.grace(0.3)
def test_a_stream_that_is_broken_off_is_kept_for_the_next_server_too(server: Serving) -> None:
    body = request(1, steps=LONG, n=4) | {"stream": True, "response_format": "b64_json"}
    with httpx.stream("POST", server.url + GENERATIONS, json=body, timeout=60) as answer:
        Serving._until(lambda: server.metric("t2i_denoise_steps_total") > 0)
        told(server)
        said = "".join(answer.iter_text())
    assert answer.status_code == 200
    assert "event: error" in said
    assert server._ended(30) == 0
    assert states(server) == [State.RUNNING]


@pytest.mark.grace(60)
def test_a_second_signal_ends_it_at_once(server: Serving) -> None:
    begun(server, request(1, steps=LONG, n=4))
    told(server)
    time.sleep(0.2)
    began = time.monotonic()
    told(server)
    assert server.process
    assert server.process.wait(30) == 0
    assert time.monotonic() - began < 8.0
    assert states(server) == [State.RUNNING]


@pytest.mark.grace(0.3)
def test_no_process_is_left(server: Serving) -> None:
    begun(server, request(1, steps=LONG), request(2, steps=LONG))
    workers = server.workers()
    assert len(workers) == 1
    assert server.stop() == 0
    assert not any(Path(f"/proc/{one}").exists() for one in workers)
    assert server.process
    assert children(server.process.pid) == []
