"""What the browser may load and run on the page: nothing from elsewhere, and no script but those that are in it.

Gradio writes scripts into its page; each is allowed by its hash, so that one that somebody smuggles in does not run.
The brush is drawn by a library that makes functions of text ('unsafe-eval'): only a script that runs already can do so.
Its styles are written by scripts, and cannot be told apart: styles are allowed, which can spoil a page and not act.
"""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

INLINE = re.compile(rb"<script(?P<about>[^>]*)>(?P<script>.*?)</script>", re.DOTALL | re.IGNORECASE)
OUTSIDE = re.compile(rb"<(?:link|script|meta)\b[^>]*https://[^>]*>(?:\s*</script>)?", re.IGNORECASE)
REST = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)


class Policy:
    """Middleware around Gradio's application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        page = _Page(send)
        await self._app(scope, receive, page)


class _Page:
    """Holds a page of HTML back until it is whole, since its scripts decide upon its headers."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = REST
            if headers.get("content-type", "").startswith("text/html"):
                self._start = message
                return
        elif self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body"):
                return
            body = OUTSIDE.sub(b"", self._body)
            headers = MutableHeaders(scope=self._start)
            headers["Content-Security-Policy"] = f"{REST}; script-src 'self' 'unsafe-eval' {scripts(body)}"
            headers["Content-Length"] = str(len(body))
            await self._send(self._start)
            message = {"type": "http.response.body", "body": body}
        await self._send(message)


def scripts(page: bytes) -> str:
    """The hashes of the scripts that are written in a page."""
    found = [one["script"] for one in INLINE.finditer(page) if b"src=" not in one["about"]]
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one).digest()).decode()}'" for one in found)
