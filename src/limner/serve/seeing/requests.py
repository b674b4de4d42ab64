"""Each request, counted and logged: which route, how long, how it ended."""

from __future__ import annotations

import contextlib
import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.serve.ledger import Key
from limner.serve.seeing.metrics import Metrics

QUIET = ("/metrics", "/healthz/")  # what looks at the service is not what it does
OTHER = "other"  # every path that is no route: whoever asks for thousands makes no thousand labels
log = logging.getLogger("limner.serve.requests")


class Requests:
    """Middleware around the door."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 499

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        quiet = scope["path"].startswith(QUIET)
        with contextlib.nullcontext() if quiet else self._metrics.in_progress.track_inprogress():
            try:
                await self._app(scope, receive, noted)
            finally:
                self._note(scope, status, time.perf_counter() - began, logging.DEBUG if quiet else logging.INFO)

    def _note(self, scope: Scope, status: int, seconds: float, level: int) -> None:
        route, state = route_of(scope), scope.get("state", {})
        self._metrics.requests.labels(route, state.get("model", ""), str(status)).inc()
        self._metrics.durations.labels(route).observe(seconds)
        key: Key | None = state.get("key")
        about = {"request": state.get("request_id"), "route": route, "method": scope["method"], "status": status}
        about |= {"seconds": round(seconds, 4), "key": None if key is None else key.id}
        about |= {name: state[name] for name in ("model", "job", "error") if name in state}
        log.log(level, "request", extra={"about": about})


def route_of(scope: Scope) -> str:
    """The route's template, and never what was asked for."""
    return getattr(scope.get("route"), "path", None) or OTHER
