"""The API of AUTOMATIC1111's web UI."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from limner.serve.problems import Problem
from limner.serve.service import Service

PREFIX = "/sdapi/v1/"


def router(service: Service) -> APIRouter:
    return APIRouter(prefix="/sdapi/v1")


def shape(problem: Problem) -> dict[str, Any]:
    """The body of an error."""
    return {"error": problem.code, "detail": problem.message, "body": "", "errors": problem.message}
