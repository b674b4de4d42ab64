"""One drawing: from what is in the fields to an order, and its pictures as they come."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from PIL import Image, ImageChops

from limner.core import InputError, check
from limner.serve import caps, uploads
from limner.serve.catalogue import Model
from limner.serve.door import key_of
from limner.serve.ledger import Key
from limner.serve.orders import Drawn, Job, Order
from limner.serve.page import showing
from limner.serve.problems import problem, problem_of
from limner.serve.service import Service
from limner.serve.studio.events import Over, Preview, Progress
from limner.serve.waiting import unless_gone

PREVIEWS = 8
OFTEN = 0.1  # seconds between two lines about the progress


@dataclass(frozen=True)
class Sheet:
    """What is drawn over, as PNG files."""

    image: bytes
    mask: bytes | None


@dataclass(frozen=True)
class Shown:
    """What the page shows next. `pictures` by their index, HTML each."""

    pictures: dict[int, str]
    said: str
    share: float | None = None
    wrong: bool = False
    drawn: tuple[Drawn, ...] = ()


@dataclass
class Sessions:
    """Who draws what, by browser tab: so that it can be stopped, and is when the tab is closed."""

    service: Service
    jobs: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    async def stop(self, session: str | None) -> None:
        for job in list(self.jobs.pop(session or "", ())):
            await self.service.cancel(job)


def key_in(request: gr.Request) -> Key | None:
    """Whose page it is."""
    return key_of(request.request)  # type: ignore[arg-type]


def order(
    model: Model, prompt: str, *, negative: str = "", seed: int | None = None, count: int = 1,
    knobs: dict[str, Any] | None = None, size: tuple[int, int] | None = None, sheet: Sheet | None = None,
    strength: float | None = None,
) -> Order:  # fmt: skip
    """InputError where it cannot be drawn."""
    check(len(prompt) <= caps.PROMPT, f"the prompt has more than {caps.PROMPT:,} characters: shorten it")
    check(len(negative) <= caps.PROMPT, f"the negative prompt has more than {caps.PROMPT:,} characters: shorten it")
    found = Order(
        model=model.name, prompt=prompt, negative_prompt=negative, count=count, knobs=knobs or {}, size=size,
        seed=secrets.randbelow(2**32) if seed is None else seed, previews=PREVIEWS,
        strength=strength if sheet is not None else None, exact=sheet is not None and sheet.mask is not None,
    )  # fmt: skip
    caps.check_order(found, model)
    return found


def sheet(edited: dict[str, Any] | None) -> Sheet | None:
    """What was uploaded and painted upon in an ImageEditor, if anything was."""
    background: Image.Image | None = (edited or {}).get("background")
    if edited is None or background is None or background.convert("RGBA").getbbox() is None:
        return None
    check(background.width * background.height <= caps.PIXELS, "the picture is too large: send a smaller one")
    white = Image.new("RGBA", background.size, "white")
    image = Image.alpha_composite(white, background.convert("RGBA")).convert("RGB")
    mask = Image.new("L", background.size)
    for layer in edited.get("layers") or []:
        mask = ImageChops.lighter(mask, layer.convert("RGBA").getchannel("A").point(lambda alpha: 255 * (alpha > 0)))
    return Sheet(uploads.png(image), uploads.png(mask) if mask.getbbox() else None)


def seed(text: str | None) -> int | None:
    """None where it is left to chance."""
    said = (text or "").strip()
    check(re.fullmatch(r"[0-9]{0,15}", said) is not None, "the seed is a whole number of at most 15 digits")
    return int(said) if said else None


def size(text: str | None) -> tuple[int, int] | None:
    """ "768x512", the width first, as (height, width); None where it is the usual one."""
    said = (text or "").strip().lower()
    if not said:
        return None
    found = re.fullmatch(r"([0-9]{1,5}) ?[x×] ?([0-9]{1,5})", said)
    if found is None:
        raise InputError("the size is width x height, such as 768x512")
    return int(found[2]), int(found[1])


async def drawing(
    service: Service, sessions: Sessions, request: gr.Request, asked: Order, sheet: Sheet | None = None
) -> AsyncIterator[Shown]:
    """The drawing as it goes on; the last one has all its pictures, or says what went wrong."""
    pictures: dict[int, str] = {}
    try:
        job = await service.submit(
            asked, key=key_in(request), image=None if sheet is None else sheet.image,
            mask=None if sheet is None else sheet.mask,
        )  # fmt: skip
    except Exception as error:
        yield Shown(pictures, problem(error).message, wrong=True)
        return
    session = request.session_hash or ""
    sessions.jobs[session].add(job.id)
    try:
        with unless_gone(service, job, keep=False) as finished:
            yield Shown(pictures, "waiting for its turn", share=0.0)
            async for shown in _steps(service, job, pictures):
                yield shown
            done = await service.finished(job.id)
            finished.append(done)
        yield _last(done, pictures)
    finally:
        sessions.jobs[session].discard(job.id)


async def _steps(service: Service, job: Job, pictures: dict[int, str]) -> AsyncIterator[Shown]:
    began, told, count = time.monotonic(), 0.0, job.order.count
    steps: dict[int, float] = {}
    async for event in service.events(job.id):
        if isinstance(event, Over):
            return
        if isinstance(event, Preview):
            pictures[event.index] = await asyncio.to_thread(showing.running, event)
        elif isinstance(event, Drawn):
            pictures[event.index], steps[event.index] = showing.finished(event), 1.0
        elif isinstance(event, Progress):
            steps[event.index] = event.step / event.steps
            if time.monotonic() - told < OFTEN:
                continue
        told = time.monotonic()
        share = sum(steps.values()) / count
        left = (told - began) * (1.0 - share) / share if share else 0.0
        yield Shown(pictures, f"{share:.0%}, {left:.0f} s left", share=share)


def _last(done: Job, pictures: dict[int, str]) -> Shown:
    for drawn in done.drawn:
        pictures[drawn.index] = showing.finished(drawn)
    wrong = problem_of(done)
    if wrong is not None:
        return Shown(pictures, wrong.message, wrong=True, drawn=done.drawn)
    seconds = (done.finished or done.accepted) - done.accepted
    seeds = ", ".join(str(one.settings["seed"]) for one in done.drawn)
    return Shown(pictures, f"done in {seconds:.1f} s; seed {seeds}", drawn=done.drawn)
