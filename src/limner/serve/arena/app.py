"""An Arena over HTTP. Before the session is finished, no answer holds a name, nor anything that stands for one."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Literal, TypeVar

from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from limner.core import InputError, parse, unparse
from limner.evaluate.arena.arena import Arena, RefusedError, UnknownError
from limner.evaluate.arena.records import Vote
from limner.evaluate.arena.standings import labels, standings
from limner.provenance import read_pixels
from limner.serve.guard import guards
from limner.serve.listening import Address

PAGE = Path(__file__).parent / "page"
MOST = 4096  # bytes of a request
STATUS: Mapping[type[Exception], int] = {UnknownError: 404, RefusedError: 409}  # any other mistake is 400
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """For a pair: the token of the last one that was shown, if any."""

    token: str = ""


@dataclass(frozen=True, slots=True)
class Ballot:
    """A vote on the pair of a token."""

    token: str
    choice: Literal["left", "right", "tie"]


def application(arena: Arena, address: Address) -> Starlette:
    """The pages, and JSON for them. A mistake of the asker is 4xx with {"error": what to do}, a full disk 503."""
    routes = [
        Route("/", _page("arena.html")),
        Route("/results", _page("results.html")),
        Mount("/page", StaticFiles(directory=PAGE)),
        Route("/progress", _get(lambda: progress(arena))),
        _post("/pair", Ask, lambda ask: pair(arena, ask)),
        _post("/vote", Ballot, lambda ballot: vote(arena, ballot)),
        _post("/finish", Ask, lambda _: finish(arena)),
        Route("/standings", _get(lambda: results(arena))),
        Route("/picture/{token}/{side}", _picture(arena)),
    ]
    faults = {HTTPException: _refused, InputError: _mistaken, OSError: _unkept}
    return Starlette(routes=routes, middleware=guards(address.hosts, address.key), exception_handlers=faults)


# ---------------------------------------------------------------------------------------------------
# What is asked.


def progress(arena: Arena) -> dict[str, Any]:
    drawn = arena.progress
    # What the fault says may hold a path, and so a name.
    fault = "no more can be drawn; the terminal says why" if drawn.fault else ""
    return {"votes": len(arena.votes), "finished": arena.finished, **unparse(replace(drawn, fault=fault))}


def pair(arena: Arena, ask: Ask) -> dict[str, Any]:
    showing = None if arena.finished else arena.pair(ask.token)
    shown = None if showing is None else {"token": showing.token, "prompt": showing.prompt}
    return {"pair": shown, "progress": progress(arena)}


def vote(arena: Arena, ballot: Ballot) -> dict[str, Any]:
    arena.vote(ballot.token, ballot.choice)
    return {"progress": progress(arena)}


def finish(arena: Arena) -> dict[str, Any]:
    arena.finish()
    return {"progress": progress(arena)}


def results(arena: Arena) -> dict[str, Any]:
    """Everything: the table, and each vote with its names."""
    if not arena.finished:
        raise RefusedError("the names are shown when the session is finished")
    votes = list(arena.votes)
    names = labels(list(dict.fromkeys(entry.contestant for one in votes for entry in (one.left, one.right))))

    def told(one: Vote) -> dict[str, Any]:
        left, right = names[one.left.contestant], names[one.right.contestant]
        about = {"token": one.token, "prompt": one.subject.prompt, "choice": one.choice, "session": one.session}
        return about | {"left": left, "right": right}

    return standings(votes).to_json() | {"all": [told(one) for one in votes]}


def picture(arena: Arena, token: str, side: str) -> bytes:
    """A PNG of the pixels and nothing else: the file's name and what it carries would say who drew it."""
    showing = arena.votes.showing(token)
    if showing is None or side not in ("left", "right"):
        raise UnknownError("there is no such picture")
    try:
        pixels = read_pixels((showing.left if side == "left" else showing.right).path)
    except InputError:
        raise UnknownError("this picture is there no longer") from None
    bare, out = Image.frombytes(pixels.mode, pixels.size, pixels.tobytes()), io.BytesIO()
    bare.save(out, "PNG", compress_level=1)
    return out.getvalue()


# ---------------------------------------------------------------------------------------------------
# How it is asked.

Endpoint = Callable[[Request], Awaitable[Response]]


def _page(name: str) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return FileResponse(PAGE / name)

    return endpoint


def _get(answer: Callable[[], dict[str, Any]]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(answer))

    return endpoint


def _picture(arena: Arena) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        data = await run_in_threadpool(picture, arena, **request.path_params)
        return Response(data, media_type="image/png")

    return endpoint


def _post(path: str, kind: type[T], answer: Callable[[T], dict[str, Any]]) -> Route:
    """Answers a request that holds `kind` as JSON."""

    async def endpoint(request: Request) -> Response:
        try:
            values = await request.json()
        except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"the request is not JSON ({error})") from None
        if not isinstance(values, dict):
            raise InputError("the request is no JSON object")
        return JSONResponse(await run_in_threadpool(answer, parse(kind, values, "the request")))

    return Route(path, endpoint, methods=["POST"], max_body_size=MOST)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)


def _mistaken(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=STATUS.get(type(error), 400))


def _unkept(request: Request, error: Exception) -> Response:
    """The page keeps the vote and sends it again: a disk that is full may be so no longer."""
    reason = getattr(error, "strerror", None) or "a file cannot be used"
    return JSONResponse({"error": f"The server has a problem: {reason}"}, 503, headers={"Retry-After": "1"})
