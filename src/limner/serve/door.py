"""The door of the service: which requests come in at all, and with whose key.

Names by which this machine was not opened, other pages in the same browser, and, once there is a key, whoever has none
stay outside; liveness is told to anybody. What comes in has `request.state.key`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.serve import caps
from limner.serve.ledger import Key, Keys
from limner.serve.problems import Problem, problem
from limner.serve.watching import Watch

COOKIE, LIVE, LOGIN = "limner-key", "/healthz/live", "/login"
SAFE = ("GET", "HEAD", "OPTIONS")
TYPES, FORM = ("application/json", "multipart/form-data"), "application/x-www-form-urlencoded"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",  # the page has another
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Shape = Callable[[Problem], Mapping[str, Any]]


class Door:
    """Middleware around everything, for requests to one of `hosts`. `shape` words a problem for whoever asked for a
    path; whatever goes wrong inside is told here, and nothing of it but a number unless the request is at fault."""

    def __init__(
        self, app: ASGIApp, *, keys: Keys, hosts: Sequence[str], shape: Callable[[str], Shape], watch: Watch
    ) -> None:
        self._app, self._keys, self._hosts, self._shape, self._watch = app, keys, frozenset(hosts), shape, watch
        self._any = False  # whether there was ever a key: then there is always one to be asked for

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["request_id"], state["key"] = secrets.token_hex(8), None
        answer = Answer(send, state["request_id"])
        try:
            state["key"] = await self._let_in(Headers(scope=scope), scope["method"], scope["path"])
            await self._app(scope, Reading(receive), answer)
        except Exception as error:
            found = problem(error)
            state["error"] = found.code
            self._watch.rejected(found.code)
            if answer.begun:  # too late for a status: the connection is broken, which the client sees
                raise
            await self._refusal(scope["path"], found)(scope, receive, answer)

    async def _let_in(self, headers: Headers, method: str, path: str) -> Key | None:
        self._check_host(headers)
        self._check_origin(headers, method)
        _check_type(headers, method, path)
        return None if path in (LIVE, LOGIN) else await self._key(headers)

    def _check_host(self, headers: Headers) -> None:
        """Another name may have been made to mean this machine by who owns it (DNS rebinding)."""
        name = re.sub(r":[0-9]*$", "", headers.get("host", "")).lower()
        if name not in self._hosts:
            raise _outside(421, "permission_error", "this service does not go by that name")

    def _check_origin(self, headers: Headers, method: str) -> None:
        if method in SAFE:
            return
        own = (f"http://{headers.get('host')}", f"https://{headers.get('host')}")
        if headers.get("origin", own[0]) not in own:
            raise _outside(403, "permission_error", "requests of other pages are not answered")
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise _outside(403, "permission_error", "requests of other sites are not answered")

    async def _key(self, headers: Headers) -> Key | None:
        """Whose request it is; None while there are no keys at all."""
        if not self._any:
            self._any = bool(await asyncio.to_thread(self._keys.all))
        if not self._any:
            return None
        secret = _secret(headers)
        found = None if secret is None else await asyncio.to_thread(self._keys.find, secret)
        if found is None:
            raise _outside(401, "authentication_error", "a key is needed: send Authorization: Bearer KEY")
        return found

    def _refusal(self, path: str, found: Problem) -> Response:
        headers = dict(found.headers)
        if found.status == 401 and path == "/":  # a person, who has not given a key yet
            return RedirectResponse(LOGIN, status_code=303)
        if found.status == 401:
            headers["WWW-Authenticate"] = 'Bearer realm="limner"'
        return JSONResponse(self._shape(path)(found), status_code=found.status, headers=headers)


class Reading:
    """What is received, as long as it comes: who sends a body drop by drop is not waited for."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._whole = receive, False

    async def __call__(self) -> Message:
        if self._whole:  # what comes now is that the client has gone, which may take as long as it likes
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), caps.PAUSE)
        except TimeoutError:
            raise Problem(
                status=408, kind="invalid_request_error", code="timeout", message="the body does not come: send it anew"
            ) from None
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message


class Answer:
    """Passes on what is sent, with headers of ours; `begun` once its status is."""

    def __init__(self, send: Send, number: str) -> None:
        self._send, self._number = send, number
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-Id"] = self._number
        await self._send(message)


def key_of(request: Request) -> Key | None:
    """With whose key a request came in."""
    key: Key | None = request.state.key
    return key


def _check_type(headers: Headers, method: str, path: str) -> None:
    """A page elsewhere can have a browser send forms and plain text here without asking; JSON it cannot."""
    if method in SAFE or (headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers):
        return
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in TYPES and not (path == LOGIN and kind == FORM):
        said = "a body is application/json, or multipart/form-data where files are sent"
        raise Problem(status=415, kind="invalid_request_error", code="unsupported_type", message=said)


def _outside(status: int, kind: str, message: str) -> Problem:
    return Problem(status=status, kind=kind, code="invalid_api_key" if status == 401 else "forbidden", message=message)


def _secret(headers: Headers) -> str | None:
    """As OpenAI's clients send it, as A1111's do (any name, the key as password), or as our page keeps it."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return None
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)
