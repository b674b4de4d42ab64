"""What is seen of the service: metrics, health, logs, drift."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from limner.serve.service import Service


def router(service: Service) -> APIRouter:
    found = APIRouter()

    @found.get("/healthz/live")
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    @found.get("/healthz/ready")
    async def ready() -> JSONResponse:
        return JSONResponse({"status": "ready" if service.ready else "not ready"}, 200 if service.ready else 503)

    return found
