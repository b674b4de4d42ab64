"""What A1111's API lists: much of it is empty here, and says so."""

from __future__ import annotations

import asyncio
import base64
import io
import os
from typing import Any

from fastapi import APIRouter, Request
from PIL import Image
from pydantic import BaseModel

import limner
from limner.provenance import TEXT_KEY
from limner.serve import caps, uploads
from limner.serve.a1111 import refusing, samplers
from limner.serve.a1111.asked import PngInfo, Upscaling
from limner.serve.a1111.board import Board
from limner.serve.catalogue import Model
from limner.serve.door import key_of
from limner.serve.problems import invalid
from limner.serve.service import Service

EMPTY = (
    "loras", "sd-vae", "sd-modules", "hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles",
    "extensions", "script-info",
)  # fmt: skip
LANCZOS = "Lanczos"


class Sampler(BaseModel):
    name: str
    aliases: list[str]
    options: dict[str, str]


class Scheduler(BaseModel):
    name: str
    label: str
    aliases: list[str] | None
    default_rho: float
    need_inner_model: bool


class SdModel(BaseModel):
    title: str
    model_name: str
    hash: str | None
    sha256: str | None
    filename: str
    config: str | None


class Upscaler(BaseModel):
    name: str
    model_name: str | None
    model_path: str | None
    model_url: str | None
    scale: float | None


class Text(BaseModel):
    info: str
    items: dict[str, Any]
    parameters: dict[str, Any]


class Upscaled(BaseModel):
    html_info: str
    image: str


def add(found: APIRouter, service: Service, board: Board) -> None:
    """All of them."""
    for name in EMPTY:
        _add_empty(found, name)
    _add_models(found, service, board)
    _add_settings(found, service, board)
    _add_pictures(found)


def _add_empty(found: APIRouter, name: str) -> None:
    @found.get(f"/{name}", name=name)
    async def empty() -> list[dict[str, Any]]:
        """There are none here."""
        return []


def _add_models(found: APIRouter, service: Service, board: Board) -> None:
    def chosen(request: Request) -> Model:
        return service.catalogue.find(board.chosen(key_of(request)))

    @found.get("/sd-models")
    async def sd_models() -> list[SdModel]:
        return [_about(model) for model in service.catalogue.values()]

    @found.get("/samplers")
    async def list_samplers(request: Request) -> list[Sampler]:
        """Of the chosen model."""
        return [Sampler(name=name, aliases=[], options={}) for name in samplers.samplers(chosen(request))]

    @found.get("/schedulers")
    async def schedulers(request: Request) -> list[Scheduler]:
        """Of the chosen model."""
        labels = samplers.SPACINGS if chosen(request).has("spacing") else {}
        return [
            Scheduler(name=name, label=label, aliases=None, default_rho=-1.0, need_inner_model=False)
            for name, label in {"automatic": "Automatic", **labels}.items()
        ]

    @found.get("/upscalers")
    async def upscalers() -> list[Upscaler]:
        none, lanczos = (
            Upscaler(name=name, model_name=None, model_path=None, model_url=None, scale=4.0)
            for name in ("None", LANCZOS)
        )
        return [none, lanczos]

    @found.get("/latent-upscale-modes")
    async def latent_upscale_modes() -> list[dict[str, str]]:
        """None: pictures are enlarged as pixels."""
        return []

    @found.get("/embeddings")
    async def embeddings() -> dict[str, dict[str, Any]]:
        return {"loaded": {}, "skipped": {}}

    @found.get("/scripts")
    async def scripts() -> dict[str, list[str]]:
        return {"txt2img": [], "img2img": []}

    @found.post("/refresh-checkpoints")
    async def refresh_checkpoints() -> None:
        """The models are those that the service was started with."""


def _add_settings(found: APIRouter, service: Service, board: Board) -> None:
    @found.get("/options")
    async def options(request: Request) -> dict[str, Any]:
        return _options(service.catalogue.find(board.chosen(key_of(request))))

    @found.post("/options")
    async def set_options(request: Request, asked: dict[str, Any]) -> None:
        """Choose the model, for this key. Other settings may only be given as they are."""
        model = asked.get("sd_model_checkpoint")
        found = service.catalogue.find(board.chosen(key_of(request)))
        if model is not None:
            if not isinstance(model, str):
                raise invalid("sd_model_checkpoint is no name", param="sd_model_checkpoint")
            found = service.catalogue.find(model.partition(" [")[0])
        there = _options(found)
        for name, value in asked.items():
            if name != "sd_model_checkpoint" and (name not in there or there[name] != value):
                raise invalid(f"the setting {name[:100]!r} cannot be changed here", param=name[:100])
        board.choose(key_of(request), found.name)

    @found.get("/cmd-flags")
    async def cmd_flags() -> dict[str, Any]:
        return {"api": True, "listen": False, "share": False, "version": limner.__version__}

    @found.get("/memory")
    async def memory() -> dict[str, dict[str, Any]]:
        """In bytes: of the machine, and what all workers hold."""
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        free = os.sysconf("SC_AVPHYS_PAGES") * size
        used = sum(worker.memory for worker in service.standing.workers)
        return {"ram": {"free": free, "used": used, "total": pages * size}, "cuda": {}}


def _add_pictures(found: APIRouter) -> None:
    @found.post("/png-info")
    async def png_info(asked: PngInfo) -> Text:
        """What a picture says of how it was drawn."""
        return await asyncio.to_thread(_text, uploads.from_base64(asked.image, "image"))

    @found.post("/extra-single-image")
    async def extra_single_image(asked: Upscaling) -> Upscaled:
        """A picture made larger, by Lanczos' filter."""
        refusing.check_extra(asked)
        return await asyncio.to_thread(_upscaled, asked)


def _about(model: Model) -> SdModel:
    """Without the folder, which is nobody's business."""
    return SdModel(
        title=f"{model.name} [{model.hash[:10]}]", model_name=model.name, hash=model.hash[:10], sha256=model.hash,
        filename=model.name, config=None,
    )  # fmt: skip


def _options(model: Model) -> dict[str, Any]:
    return {
        "sd_model_checkpoint": f"{model.name} [{model.hash[:10]}]", "sd_checkpoint_hash": model.hash,
        "samples_format": "png", "CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic",
    }  # fmt: skip


def _text(data: bytes) -> Text:
    uploads.picture(data, "image")
    with Image.open(io.BytesIO(data)) as image:
        text = str(image.info.get(TEXT_KEY, ""))
    return Text(info=text, items={TEXT_KEY: text} if text else {}, parameters={})


def _upscaled(asked: Upscaling) -> Upscaled:
    image = uploads.picture(uploads.from_base64(asked.image, "image"), "image")
    if asked.upscaler_1 == LANCZOS:
        size = (_times(image.width, asked.upscaling_resize), _times(image.height, asked.upscaling_resize))
        if size[0] * size[1] > caps.PIXELS:
            raise invalid(f"{size[0]} x {size[1]} pixels are too many: enlarge it less", param="upscaling_resize")
        image = image.resize(size, Image.Resampling.LANCZOS)
    return Upscaled(html_info="", image=base64.b64encode(uploads.png(image)).decode())


def _times(side: int, scale: float) -> int:
    return max(1, round(side * scale))
