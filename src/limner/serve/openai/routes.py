"""The routes of OpenAI's images API."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Request
from fastapi.responses import Response, StreamingResponse

from limner.serve import caps, uploads
from limner.serve.door import key_of
from limner.serve.ledger import Idempotency
from limner.serve.openai import ordering, reading
from limner.serve.openai.answers import (
    TYPES,
    ErrorBody,
    ModelInfo,
    Models,
    Pictures,
    Wish,
    about,
    answer,
    encoded,
)
from limner.serve.openai.asked import Asked, Editing, EditingJson, Generation, Variation
from limner.serve.openai.streaming import stream
from limner.serve.orders import Order
from limner.serve.service import Service
from limner.serve.waiting import drawn

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": said}
    for status, said in {
        400: "The request is at fault", 401: "A key is needed", 403: "Requests of other pages are not answered",
        404: "There is no such model, or picture", 409: "It was cancelled", 413: "It is too large",
        415: "It is neither JSON nor a form", 422: "The Idempotency-Key came with another request",
        429: "The key has asked for as much as it may", 500: "The service is at fault",
        503: "There is no room now, or it is about to stop",
    }.items()
}  # fmt: skip
STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"model": Pictures, "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
Repeat = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=caps.NAME)]
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


def router(service: Service) -> APIRouter:
    """All of it, for this service."""
    found = APIRouter(prefix="/v1", responses=PROBLEMS, tags=["OpenAI"])
    _add_models(found, service)
    _add_generations(found, service)
    _add_edits(found, service)
    _add_variations(found, service)
    _add_files(found, service)
    return found


def _add_models(found: APIRouter, service: Service) -> None:
    @found.get("/models")
    async def models() -> Models:
        """Those that pictures can be asked of; the first is the usual one."""
        return Models(data=[about(model) for model in service.catalogue.values()])

    @found.get("/models/{name}")
    async def model(name: Annotated[str, Path(max_length=200)]) -> ModelInfo:
        return about(service.catalogue.find(name))


def _add_generations(found: APIRouter, service: Service) -> None:
    @found.post("/images/generations", response_model=Pictures, responses=STREAMED)
    async def generations(request: Request, asked: Generation, idempotency_key: Repeat = None) -> Any:
        """Pictures of a prompt."""
        order = ordering.generation(asked, service.catalogue)
        repeated, wish = ordering.repeated(idempotency_key, asked), _wish(request, asked)
        return await _answered(
            service, request, order, repeated, wish=wish, kind="image_generation", streamed=asked.stream
        )  # fmt: skip


def _add_edits(found: APIRouter, service: Service) -> None:
    content = reading.contents(Editing, files=["image", "mask"])
    content["application/json"] = {"schema": reading.schema_of(EditingJson)}

    @found.post(
        "/images/edits", response_model=Pictures, responses=STREAMED,
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )  # fmt: skip
    async def edits(request: Request, idempotency_key: Repeat = None) -> Any:
        """An image drawn anew, all of it or where a mask is transparent."""
        read = reading.from_json(request) if reading.is_json(request) else reading.from_form(request, Editing)
        asked, sent = await read
        order = ordering.edit(asked, service.catalogue, masked=sent.mask is not None)
        image, mask = await asyncio.to_thread(_opened, sent)
        repeated = ordering.repeated(idempotency_key, asked, sent.image, sent.mask)
        return await _answered(
            service, request, order, repeated, wish=_wish(request, asked), kind="image_edit", streamed=asked.stream,
            image=image, mask=mask,
        )  # fmt: skip


def _add_variations(found: APIRouter, service: Service) -> None:
    content = reading.contents(Variation, files=["image"])

    @found.post(
        "/images/variations", response_model=Pictures,
        openapi_extra={"requestBody": {"required": True, "content": content}},
    )  # fmt: skip
    async def variations(request: Request, idempotency_key: Repeat = None) -> Any:
        """An image drawn anew without a word."""
        asked, sent = await reading.from_form(request, Variation)
        order = ordering.variation(asked, service.catalogue)
        image, _ = await asyncio.to_thread(_opened, reading.Sent(sent.image, None))
        repeated = ordering.repeated(idempotency_key, asked, sent.image)
        wish = Wish(_base(request), urls=asked.response_format == "url")
        return await _answered(service, request, order, repeated, wish=wish, kind="", streamed=False, image=image)


def _add_files(found: APIRouter, service: Service) -> None:
    for kind, media_type in TYPES.items():
        _add_file(found, service, kind, media_type)  # type: ignore[arg-type]


def _add_file(found: APIRouter, service: Service, kind: Literal["png", "jpeg", "webp"], media_type: str) -> None:
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}

    @found.get(
        f"/images/files/{{digest}}.{kind}", response_class=Response, responses={200: {"content": content}},
        name=f"file_{kind}",
    )  # fmt: skip
    async def file(digest: Digest) -> Response:
        """A picture by the name that its answer gave it."""
        return Response(await encoded(service, digest, Wish("", format=kind)), media_type=media_type)


async def _answered(
    service: Service, request: Request, order: Order, repeated: Idempotency | None, *, wish: Wish, kind: str,
    streamed: bool | None, image: bytes | None = None, mask: bytes | None = None,
) -> Pictures | Response:  # fmt: skip
    request.state.model = order.model
    job = await service.submit(order, key=key_of(request), image=image, mask=mask, idempotency=repeated)
    request.state.job, keep = job.id, repeated is not None
    if streamed:
        events = service.events(job.id)  # from here on nothing is missed
        return StreamingResponse(
            stream(service, job, events, wish, kind=kind, keep=keep), media_type="text/event-stream"
        )  # fmt: skip
    return await answer(service, await drawn(request, service, job, keep=keep), wish)


def _opened(sent: reading.Sent) -> tuple[bytes, bytes | None]:
    """The files as they are drawn over."""
    image = uploads.picture(sent.image, "image")
    if sent.mask is None:
        return uploads.png(image), None
    return uploads.png(image), uploads.png(ordering.painted(uploads.picture(sent.mask, "mask"), image))


def _wish(request: Request, asked: Asked) -> Wish:
    return Wish(
        _base(request), urls=asked.response_format == "url", format=asked.output_format or "png",
        compression=asked.output_compression,
    )  # fmt: skip


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")
