"""OpenAI's images API."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from limner.serve.problems import Problem
from limner.serve.service import Service

PREFIX = "/v1/"


def router(service: Service) -> APIRouter:
    return APIRouter(prefix="/v1")


def shape(problem: Problem) -> dict[str, Any]:
    """The body of an error: all four keys, always."""
    told = {"message": problem.message, "type": problem.kind, "param": problem.param, "code": problem.code}
    return {"error": told}
