"""Pictures as they come: server-sent events with the model's running estimates."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from limner.serve.openai.answers import Wish, base64_of, preview, shape, size
from limner.serve.orders import Drawn, Job
from limner.serve.problems import problem, problem_of
from limner.serve.service import Service
from limner.serve.studio.events import Listener, Over, Preview
from limner.serve.waiting import unless_gone


async def stream(
    service: Service, job: Job, events: Listener, wish: Wish, *, kind: str, keep: bool
) -> AsyncIterator[bytes]:
    """The events of a job: `kind` is image_generation or image_edit. An error that comes too late for a status is the
    last event. See `waiting.drawn` for who goes away."""
    told: set[int] = set()
    shown: Counter[int] = Counter()
    try:
        with unless_gone(service, job, keep=keep) as finished:
            async for event in events:
                if isinstance(event, Preview):
                    yield await _partial(event, shown[event.index], wish, kind)
                    shown[event.index] += 1
                elif isinstance(event, Drawn):
                    told.add(event.index)
                    yield await _completed(service, event, wish, kind)
                elif isinstance(event, Over) and event.state.over:
                    break
            done = await service.finished(job.id)
            finished.append(done)
            for drawn in done.drawn:  # what was drawn before anybody listened
                if drawn.index not in told:
                    yield await _completed(service, drawn, wish, kind)
        wrong = problem_of(done)
    except Exception as error:
        wrong = problem(error)
    if wrong is not None:
        yield _event("error", shape(wrong))


async def _partial(event: Preview, number: int, wish: Wish, kind: str) -> bytes:
    height, width = event.size
    text = await asyncio.to_thread(preview, event.pixels, height, width, dict(event.settings), wish)
    about = _about(f"{kind}.partial_image", text, f"{width}x{height}", wish)
    return _event(f"{kind}.partial_image", about | {"partial_image_index": number, "index": event.index})


async def _completed(service: Service, drawn: Drawn, wish: Wish, kind: str) -> bytes:
    about = _about(f"{kind}.completed", await base64_of(service, drawn, wish), size(drawn), wish)
    return _event(f"{kind}.completed", about | {"index": drawn.index})


def _about(kind: str, text: str, size: str, wish: Wish) -> dict[str, Any]:
    return {
        "type": kind, "b64_json": text, "created_at": int(time.time()), "size": size, "quality": "auto",
        "background": "opaque", "output_format": wish.format,
    }  # fmt: skip


def _event(name: str, body: Mapping[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(body)}\n\n".encode()
