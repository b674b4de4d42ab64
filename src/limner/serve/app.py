"""The service over HTTP: its dialects, its page and what is seen of it, behind one door."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

import limner
from limner.serve import a1111, caps, openai, seeing
from limner.serve.door import Door, Shape
from limner.serve.listening import Address
from limner.serve.page import login
from limner.serve.page.lazy import Page
from limner.serve.problems import problem
from limner.serve.seeing.drift.watching import Drift
from limner.serve.seeing.metrics import Metrics
from limner.serve.seeing.requests import Requests
from limner.serve.seeing.standing import StandingCollector
from limner.serve.service import Service


def application(service: Service, address: Address, metrics: Metrics, *, page: bool = True) -> FastAPI:
    """It opens the service when it starts, and drains it when it stops. `metrics` are those that the service tells.
    With a `page`, people can draw at "/"."""
    people = Page(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service:
            watching = asyncio.create_task(Drift(service, metrics).watch())
            yield
            watching.cancel()
            await people.close()

    app = FastAPI(
        title="Limner", version=limner.__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        max_body_size=caps.BODY,
        middleware=[
            Middleware(Requests, metrics=metrics),
            Middleware(Door, keys=service.ledger.keys, hosts=address.hosts, shape=shape_for, watch=metrics),
        ],
    )  # fmt: skip
    metrics.registry.register(StandingCollector(service))
    for router in (openai.router(service), a1111.router(service), seeing.router(service, metrics)):
        app.include_router(router)
    if page:
        app.include_router(login.router(service.ledger.keys))
        app.mount("/", people)
    for kind in (HTTPException, RequestValidationError):  # which have handlers already; the door has the rest
        app.add_exception_handler(kind, _answered)
    return app


def shape_for(path: str) -> Shape:
    """In which words a problem is told to who asked for this path."""
    return a1111.shape if path.startswith(a1111.PREFIX) else openai.shape


def _answered(request: Request, error: Exception) -> JSONResponse:
    found = problem(error)
    if found.status == 405:
        found = replace(found, more={"Allow": ", ".join(_methods(request))})
    body: dict[str, Any] = dict(shape_for(request.url.path)(found))
    return JSONResponse(body, status_code=found.status, headers=found.headers)


def _methods(request: Request) -> list[str]:
    """All that a path is there for; the router knows of the first of its routes alone."""
    route = request.scope.get("route")
    told = request.app.openapi()["paths"].get(getattr(route, "path", ""), {})
    return sorted(method.upper() for method in told) or sorted(getattr(route, "methods", None) or ["GET"])
