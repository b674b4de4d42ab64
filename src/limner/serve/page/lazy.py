"""The page is built when somebody first opens it: importing Gradio takes longer than all the rest of a start."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os

from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from limner.serve import caps
from limner.serve.service import Service

WAITING = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<meta name="viewport" content="width=device-width"><title>Limner</title></head>
<body><p>The page is being made ready. This takes a few seconds, once.</p></body></html>"""
STRICT = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Refresh": "1"}
log = logging.getLogger(__name__)


class Page:
    """An application that answers by itself until Gradio's is there. To be closed with the service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._app: ASGIApp | None = None
        self._living: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is not None:
            await self._app(scope, receive, send)
            return
        if self._living is None and scope["path"] in ("/", "") and scope["method"] == "GET":
            self._living = asyncio.create_task(self._live())
        await self._meanwhile(scope)(scope, receive, send)

    async def close(self) -> None:
        self._closed.set()
        if self._living is not None:
            with contextlib.suppress(Exception):
                await self._living

    def _meanwhile(self, scope: Scope) -> Response:
        if scope["path"] in ("/", ""):
            return HTMLResponse(WAITING, headers=STRICT)
        return PlainTextResponse("Not Found", status_code=404)

    async def _live(self) -> None:
        """From its making until the service ends."""
        try:
            app = await asyncio.to_thread(_made, self._service)
            async with app.router.lifespan_context(app):
                from limner.serve.page.policy import Policy

                self._app = Policy(app)
                await self._closed.wait()
        except Exception:
            log.exception("the page cannot be shown")
            self._living = None  # for the next one to try


def _made(service: Service):  # type: ignore[no-untyped-def]
    """Gradio's application. It tells nobody that it runs, and offers nothing beside the page."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr
    from fastapi import FastAPI

    from limner.serve.page.blocks import CSS, blocks

    theme = gr.themes.Base(primary_hue="indigo", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    return gr.mount_gradio_app(
        app, blocks(service).queue(api_open=False, max_size=256), path="/", footer_links=[], run_history=False,
        allowed_paths=[], show_error=False, max_file_size=caps.UPLOAD, ssr_mode=False, enable_monitoring=False,
        pwa=False, mcp_server=False, theme=theme, css_paths=CSS,
    )  # fmt: skip
