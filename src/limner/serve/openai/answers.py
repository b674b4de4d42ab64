"""From finished pictures to OpenAI's words."""

from __future__ import annotations

import asyncio
import base64
import io
from dataclasses import dataclass
from typing import Any, Literal

from PIL import Image
from pydantic import BaseModel

from limner.core import parse
from limner.provenance import QUALITY, Settings, encode
from limner.serve.catalogue import Model
from limner.serve.orders import Drawn, Job
from limner.serve.problems import Problem, invalid
from limner.serve.service import Service

TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
GONE = "the picture is kept no longer: ask for it anew"


class Picture(BaseModel):
    """`url` or `b64_json`, as it was asked for."""

    url: str | None = None
    b64_json: str | None = None


class Pictures(BaseModel):
    """The answer to a request for pictures. `created` is in seconds since 1970."""

    created: int
    data: list[Picture]
    background: Literal["opaque"] = "opaque"
    output_format: Literal["png", "jpeg", "webp"] = "png"
    quality: Literal["auto"] = "auto"
    size: str


class ModelInfo(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "limner"


class Models(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelInfo]


class Error(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    error: Error


def shape(problem: Problem) -> dict[str, Any]:
    """The body of an error: all four keys, always."""
    error = Error(message=problem.message, type=problem.kind, param=problem.param, code=problem.code)
    return ErrorBody(error=error).model_dump()


def about(model: Model) -> ModelInfo:
    return ModelInfo(id=model.name, created=int(model.created))


@dataclass(frozen=True, slots=True)
class Wish:
    """How pictures are to be sent. `base` is the address of this server, as the client has it."""

    base: str
    urls: bool = False
    format: Literal["png", "jpeg", "webp"] = "png"
    compression: int | None = None

    @property
    def quality(self) -> int:
        return QUALITY if self.compression is None else self.compression


async def answer(service: Service, job: Job, wish: Wish) -> Pictures:
    """All pictures of a job that is done."""
    drawn = sorted(job.drawn, key=lambda one: one.index)
    pictures = [await _picture(service, one, wish) for one in drawn]
    return Pictures(created=int(job.accepted), data=pictures, output_format=wish.format, size=size(drawn[0]))


def size(drawn: Drawn) -> str:
    return f"{drawn.settings['width']}x{drawn.settings['height']}"


async def encoded(service: Service, digest: str, wish: Wish) -> bytes:
    """The picture's file in the format that was asked for; Problem where it is gone."""
    data = await service.picture(digest)
    if data is None:
        raise invalid(GONE, code="not_found", status=404)
    return data if wish.format == "png" else await asyncio.to_thread(_again, data, wish)


async def base64_of(service: Service, drawn: Drawn, wish: Wish) -> str:
    return base64.b64encode(await encoded(service, drawn.digest, wish)).decode()


async def _picture(service: Service, drawn: Drawn, wish: Wish) -> Picture:
    if wish.urls:
        return Picture(url=f"{wish.base}/v1/images/files/{drawn.digest}.{wish.format}")
    return Picture(b64_json=await base64_of(service, drawn, wish))


def _again(data: bytes, wish: Wish) -> bytes:
    """Our own PNG in another format, with all that it carries."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        settings = Settings.from_json(str(image.info["limner"]), "the picture")
        return encode(image.convert("RGB"), wish.format.upper(), settings, quality=wish.quality)


def preview(pixels: bytes, height: int, width: int, settings: dict[str, Any], wish: Wish) -> str:
    """A picture in the making, in base64."""
    image = Image.frombytes("RGB", (width, height), pixels)
    return base64.b64encode(encode(image, wish.format.upper(), parse(Settings, settings, "preview"))).decode()
