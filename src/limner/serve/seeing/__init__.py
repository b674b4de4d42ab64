"""What is seen of the service: metrics, health, logs, drift.

metrics.py    the numbers that Prometheus asks for;  standing.py: those that are looked up when it asks
requests.py   each request, counted and logged
health.py     whether it lives, and whether it is ready
logs.py       a line of JSON for each event
"""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from limner.serve.seeing import health
from limner.serve.seeing.metrics import Metrics
from limner.serve.service import Service


def router(service: Service, metrics: Metrics) -> APIRouter:
    found = APIRouter(tags=["Seeing"])
    health.add(found, service)
    text = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

    @found.get("/metrics", response_class=Response, responses=text)  # type: ignore[arg-type]
    async def numbers() -> Response:
        """For Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return found
