"""The arena as a server in a thread, and requests to it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from limner.evaluate.arena.arena import Arena
from limner.evaluate.arena.entrants import find
from limner.evaluate.arena.studio import Studio
from limner.evaluate.arena.subjects import numbered
from limner.evaluate.arena.votes import Votes
from limner.serve import listening
from limner.serve.arena import Address, application
from tests.drawn import PROMPTS, drawn

NAMES = ("anne-of-the-hidden-names", "beth-of-the-hidden-names")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@dataclass(frozen=True)
class Server:
    """`ask` is one request, with the headers that our own page would send unless others are given."""

    port: int
    votes: Votes
    studio: Studio
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(self, path: str, body: object = None, *, method: str | None = None, **headers: str | None) -> Answer:
        own = {"Host": f"127.0.0.1:{self.port}"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            own |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in {**own, **given}.items() if value is not None]
        request = "\r\n".join([*lines, "", ""]).encode() + (b"" if body is None else data)
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            # In one piece: a server that refuses the headers and closes before the body comes resets the connection,
            # and its answer may be lost.
            connection.sendall(request)
            with closing(HTTPResponse(connection, method=method)) as answer:
                answer.begin()
                return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def pair(self, token: str = "") -> dict[str, str]:
        return self.ask("/pair", {"token": token}).json["pair"]

    def vote(self, token: str, choice: str = "left") -> Answer:
        return self.ask("/vote", {"token": token, "choice": choice})


@contextmanager
def serving(folder: Path, *, key: str = "", prompts: Sequence[str] = PROMPTS) -> Iterator[Server]:
    """The arena with pictures of two by NAMES, in a thread of this process."""
    runs = [str(drawn(folder / name, prompts)) for name in NAMES]
    entrants = find(runs, folder / "pictures", seed=0, knobs={}, say=print)
    address = replace(Address.open("127.0.0.1", 0), key=key)
    with closing(Votes(folder / "votes.sqlite")) as votes:
        session = votes.begin()
        studio = Studio(votes, session, entrants, numbered(prompts))
        arena = Arena(votes, session, studio)
        running = listening.server(application(arena, address))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [address.socket]})
        thread.start()
        try:
            yield Server(address.socket.getsockname()[1], votes, studio, folder)
        finally:
            running.should_exit = True
            thread.join()
