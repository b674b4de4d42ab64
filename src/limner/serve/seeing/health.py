"""Whether the service lives, which needs nothing but an answer, and whether it is ready to draw."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from limner.serve.faults import Unavailable
from limner.serve.service import Service


class Health(BaseModel):
    status: Literal["alive", "ready", "loading", "draining", "ledger unavailable"]


def add(found: APIRouter, service: Service) -> None:
    @found.get("/healthz/live")
    async def live() -> Health:
        """Whether it answers at all. It asks nothing else."""
        return Health(status="alive")

    @found.get("/healthz/ready", responses={503: {"model": Health}})
    async def ready(response: Response) -> Health:
        """Whether a picture would be begun at once."""
        status = await _status(service)
        response.status_code = 200 if status == "ready" else 503
        return Health(status=status)


async def _status(service: Service) -> Literal["ready", "loading", "draining", "ledger unavailable"]:
    if service.draining:
        return "draining"
    if not service.ready:
        return "loading"
    try:
        await service.job("")
    except Unavailable:
        return "ledger unavailable"
    return "ready"
