"""From finished pictures to A1111's words."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from PIL import Image
from pydantic import BaseModel

from limner.core import parse
from limner.provenance import Settings, encode, parameters
from limner.serve.a1111.asked import Asked
from limner.serve.a1111.repainting import Canvas, put_back
from limner.serve.catalogue import Model
from limner.serve.orders import Drawn, Job
from limner.serve.problems import Problem, invalid
from limner.serve.service import Service
from limner.serve.studio.events import Preview

SECRETS = ("init_images", "mask")  # what is not echoed: megabytes that the client has


class Images(BaseModel):
    """`info` is JSON in a string, as it has always been."""

    images: list[str]
    parameters: dict[str, Any]
    info: str


class Error(BaseModel):
    error: str
    detail: str
    body: str
    errors: str


def shape(problem: Problem) -> dict[str, Any]:
    """The body of an error."""
    told = problem.message
    return Error(error=problem.code, detail=told, body=problem.param or "", errors=told).model_dump()


async def answer(service: Service, job: Job, asked: Asked, canvas: Canvas | None) -> Images:
    """Those pictures of a job that are finished."""
    drawn = sorted(job.drawn, key=lambda one: one.index)
    files = [await _file(service, one, canvas) for one in drawn] if asked.send_images else []
    settings = [parse(Settings, one.settings, "settings") for one in drawn]
    echo = asked.model_dump(exclude=set(SECRETS))
    return Images(
        images=[base64.b64encode(file).decode() for file in files], parameters=echo,
        info=json.dumps(info(job, asked, settings, service.catalogue[job.order.model])),
    )  # fmt: skip


def info(job: Job, asked: Asked, settings: Sequence[Settings], model: Model) -> dict[str, Any]:
    """All that A1111 says of what it drew."""
    order, count = job.order, len(settings)
    knobs = settings[0].knobs if settings else dict(order.knobs)
    seeds = [one.seed for one in settings]
    width, height = (settings[0].width, settings[0].height) if settings else (asked.width, asked.height)
    return {
        "prompt": order.prompt, "all_prompts": [order.prompt] * count,
        "negative_prompt": order.negative_prompt, "all_negative_prompts": [order.negative_prompt] * count,
        "seed": order.seed, "all_seeds": seeds, "subseed": -1, "all_subseeds": [-1] * count, "subseed_strength": 0,
        "width": width, "height": height, "sampler_name": knobs.get("solver"), "cfg_scale": knobs.get("guidance"),
        "steps": knobs.get("steps"), "batch_size": asked.batch_size, "restore_faces": False,
        "face_restoration_model": None, "sd_model_name": model.name, "sd_model_hash": model.hash[:10],
        "sd_vae_name": None, "sd_vae_hash": None, "seed_resize_from_w": -1, "seed_resize_from_h": -1,
        "denoising_strength": order.strength, "extra_generation_params": {}, "index_of_first_image": 0,
        "infotexts": [parameters(one) for one in settings], "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.gmtime(job.accepted)),
        "clip_skip": knobs.get("clip_skip", 1), "is_using_inpainting_conditioning": False,
        "version": settings[0].limner if settings else "",
    }  # fmt: skip


async def _file(service: Service, drawn: Drawn, canvas: Canvas | None) -> bytes:
    data = await service.picture(drawn.digest)
    if data is None:
        raise invalid("the picture is kept no longer: ask for it anew", code="not_found", status=404)
    return data if canvas is None or canvas.box is None else await asyncio.to_thread(_whole, data, drawn, canvas)


def _whole(data: bytes, drawn: Drawn, canvas: Canvas) -> bytes:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        whole = put_back(image.convert("RGB"), canvas)
    settings = parse(Settings, drawn.settings, "settings")
    return encode(whole, "PNG", replace(settings, width=whole.width, height=whole.height))


def preview(event: Preview) -> str:
    """A picture in the making, in base64."""
    height, width = event.size
    image = Image.frombytes("RGB", (width, height), event.pixels)
    return base64.b64encode(encode(image, "PNG", parse(Settings, event.settings, "preview"))).decode()
