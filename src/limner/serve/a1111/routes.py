"""The routes of A1111's API by which something is drawn, followed and ended."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from limner.serve import uploads
from limner.serve.a1111 import answers, ordering, repainting
from limner.serve.a1111.answers import Error, Images
from limner.serve.a1111.asked import Asked, Image2Image, Text2Image
from limner.serve.a1111.board import Board, Making
from limner.serve.a1111.repainting import Canvas
from limner.serve.door import key_of
from limner.serve.orders import Order, State
from limner.serve.problems import invalid, problem_of
from limner.serve.service import Service
from limner.serve.waiting import over

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": said}
    for status, said in {
        400: "The request is at fault", 401: "A key is needed", 403: "Requests of other pages are not answered",
        404: "There is no such model, or picture", 409: "It was cancelled", 413: "It is too large",
        415: "It is no JSON", 422: "The request is at fault", 429: "The key has asked for as much as it may",
        500: "The service is at fault", 503: "There is no room now, or it is about to stop",
    }.items()
}  # fmt: skip


class Position(BaseModel):
    skipped: bool
    interrupted: bool
    stopping_generation: bool
    job: str
    job_count: int
    job_timestamp: str
    job_no: int
    sampling_step: int
    sampling_steps: int


class ProgressAnswer(BaseModel):
    """`progress` goes from 0 to 1, and `eta_relative` is in seconds."""

    progress: float
    eta_relative: float
    state: Position
    current_image: str | None
    textinfo: str | None


def add(found: APIRouter, service: Service, board: Board) -> None:
    @found.post("/txt2img")
    async def txt2img(request: Request, asked: Text2Image) -> Images:
        """Pictures of a prompt."""
        order = ordering.order(asked, service.catalogue, board.chosen(key_of(request)))
        return await _drawn(service, board, request, order, asked)

    @found.post("/img2img")
    async def img2img(request: Request, asked: Image2Image) -> Images:
        """An image drawn anew, or a part of it."""
        if len(asked.init_images or []) != 1:
            raise invalid("init_images has to be one image", param="init_images")
        order = ordering.order(asked, service.catalogue, board.chosen(key_of(request)))
        side, size = service.catalogue[order.model].side, order.size
        canvas = await asyncio.to_thread(
            repainting.canvas, asked, None if size is None else (size[1], size[0]), usual=(side, side)
        )
        return await _drawn(service, board, request, order, asked, canvas)

    @found.post("/interrupt")
    @found.post("/skip")
    async def interrupt(request: Request) -> dict[str, Any]:
        """What is in the making ends with what is finished."""
        await board.interrupt(key_of(request))
        return {}

    @found.get("/progress")
    async def progress(request: Request, skip_current_image: bool = False) -> ProgressAnswer:
        """How far the picture is that was asked for first."""
        making = board.current(key_of(request))
        if making is None or skip_current_image or making.preview is None:
            return _progress(making, board.count(key_of(request)), None)
        seen = await asyncio.to_thread(answers.preview, making.preview)
        return _progress(making, board.count(key_of(request)), seen)


async def _drawn(
    service: Service, board: Board, request: Request, order: Order, asked: Asked, canvas: Canvas | None = None
) -> Images:
    request.state.model = order.model
    image, mask = await asyncio.to_thread(_files, canvas)
    if canvas is not None:  # which is of the size that was asked for already
        order = replace(order, size=(canvas.image.height, canvas.image.width) if order.size else None)
    job = await service.submit(order, key=key_of(request), image=image, mask=mask)
    request.state.job = job.id
    with board.shown(key_of(request), job, service.events(job.id)) as making:
        done = await over(request, service, job, keep=False)
    wrong = problem_of(done)
    if wrong is not None and not (making.interrupted and done.state is State.CANCELLED):
        raise wrong
    return await answers.answer(service, done, asked, canvas)


def _files(canvas: Canvas | None) -> tuple[bytes | None, bytes | None]:
    if canvas is None:
        return None, None
    return uploads.png(canvas.image), None if canvas.mask is None else uploads.png(canvas.mask)


def _progress(making: Making | None, count: int, seen: str | None) -> ProgressAnswer:
    if making is None:
        state = Position(skipped=False, interrupted=False, stopping_generation=False, job="", job_count=0,
                         job_timestamp="0", job_no=0, sampling_step=0, sampling_steps=0)  # fmt: skip
        return ProgressAnswer(progress=0.0, eta_relative=0.0, state=state, current_image=None, textinfo=None)
    latest = max(making.steps, default=0)
    state = Position(
        skipped=False, interrupted=making.interrupted, stopping_generation=making.interrupted, job=making.job.id,
        job_count=making.job.order.count, job_no=latest, sampling_step=making.steps.get(latest, 0),
        sampling_steps=making.whole,
        job_timestamp=time.strftime("%Y%m%d%H%M%S", time.gmtime(making.job.accepted)),
    )  # fmt: skip
    waiting = f"{count} requests" if count > 1 else None
    return ProgressAnswer(
        progress=making.share, eta_relative=making.seconds_left, state=state, current_image=seen, textinfo=waiting
    )
