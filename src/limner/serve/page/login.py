"""Where a key is given, once there are keys: a form without a script."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from limner.serve.door import COOKIE, LOGIN
from limner.serve.ledger import Keys

MOST = 4096  # bytes of the form
FORM = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Limner</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:16px system-ui;max-width:22rem;margin:20vh auto;padding:0 1rem}}input,button{{font:inherit;width:100%;
box-sizing:border-box;padding:.5rem;margin:.4rem 0}}p.wrong{{color:#b91c1c}}</style></head><body><h1>Limner</h1>
<form method="post" action="/login"><label for="key">Your key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Open</button>{said}</form></body></html>"""
WRONG = '<p class="wrong" role="alert">This key opens nothing.</p>'
STRICT = {
    "Referrer-Policy": "same-origin",  # with no-referrer a form says that it comes from nowhere, and is refused
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
}
MONTH = 30 * 86400


def router(keys: Keys) -> APIRouter:
    found = APIRouter(include_in_schema=False)

    @found.get(LOGIN)
    async def form() -> Response:
        return HTMLResponse(FORM.format(said=""), headers=STRICT)

    @found.post(LOGIN)
    async def given(request: Request) -> Response:
        """The cookie, for a key that holds."""
        secret = parse_qs((await request.body())[:MOST].decode("ascii", "replace")).get("key", [""])[0].strip()
        if await asyncio.to_thread(keys.find, secret) is None:
            return HTMLResponse(FORM.format(said=WRONG), status_code=401, headers=STRICT)
        answer = RedirectResponse("/", status_code=303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, secret, httponly=True, samesite="strict", secure=secure, max_age=MONTH)
        return answer

    return found
