"""The process that serves, from its first signal to its last."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from limner.serve.listening import Address
from limner.serve.service import Service

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LAST = 2  # seconds for the last answers, after all is drawn


class _Server(uvicorn.Server):
    """Signals are ours to answer."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(app: ASGIApp, service: Service, address: Address, *, grace: float) -> None:
    """Answer until SIGINT or SIGTERM, then accept nothing more and finish within `grace` seconds what was begun; a
    second signal ends it at once. Nothing accepted is lost by either."""
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, ws="none", timeout_graceful_shutdown=LAST,
        timeout_keep_alive=30, h11_max_incomplete_event_size=64 << 10,
    )  # fmt: skip
    asyncio.run(_serve(_Server(config), service, address, grace))


async def _serve(server: uvicorn.Server, service: Service, address: Address, grace: float) -> None:
    told = asyncio.Event()
    hurried = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, lambda: hurried.set() if told.is_set() else told.set())
    serving = asyncio.create_task(server.serve(sockets=[address.socket]))
    await _first(serving, told.wait())
    if not serving.done():
        try:
            await _drained(service, grace, hurried)
        finally:
            server.should_exit = True
    await serving


async def _drained(service: Service, grace: float, hurried: asyncio.Event) -> None:
    draining = asyncio.create_task(service.drain(grace))
    await _first(draining, hurried.wait())
    if not draining.done():
        await service.drain(0.0)
    await draining


async def _first(work: asyncio.Task[None], signal_: object) -> None:
    """Until either is done."""
    waiting = asyncio.ensure_future(signal_)  # type: ignore[call-overload]
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
