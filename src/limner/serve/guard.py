"""Who may ask: a guard in front of every page that is served, against other pages in the same browser and other people.

A page on another site can send requests to this machine, and with a name that it lets point here (DNS rebinding) also
read the answers. So the Host header has to be ours, and what changes something has to be JSON from our own page.
Where others can reach the address, a key in the first address opened becomes a cookie.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE, KEY = "limner-key", "key"
SAFE = ("GET", "HEAD")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def guards(hosts: Sequence[str], key: str) -> list[Middleware]:
    """For requests to one of `hosts`, from our own pages and, unless `key` is empty, from whoever has it."""
    return [
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        Middleware(Guard, key=key),
    ]


class Guard:
    """Refuses what is not ours and marks what goes out, so that nothing is framed, kept or guessed at."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await (self._refusal(scope) or self._app)(scope, receive, marked)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if scope["method"] not in SAFE and (wrong := _foreign(headers)):
            return JSONResponse({"error": wrong}, status_code=403)
        if not self._key or _equal(cookie_parser(headers.get("cookie", "")).get(COOKIE, ""), self._key):
            return None
        if _equal(QueryParams(scope["query_string"]).get(KEY, ""), self._key):
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(COOKIE, self._key, httponly=True, samesite="lax")  # strict: not for a link in a mail
            return answer
        return JSONResponse({"error": "open the whole address that limner has printed, with its key"}, status_code=401)


def _foreign(headers: Headers) -> str:
    """What shows that a request is not from our own page, if anything does."""
    origin = headers.get("origin", f"http://{headers.get('host')}")
    if origin != f"http://{headers.get('host')}":
        return "requests of other pages are not answered"
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return "requests of other sites are not answered"
    if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return "the request has to be application/json"
    return ""


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
