"""The API of AUTOMATIC1111's web UI, as far as there is something here to answer with.

asked.py        what may be asked;  refusing.py: what is refused by name;  samplers.py: solvers by A1111's names
ordering.py     from there to an order;  repainting.py: images and masks
answers.py      what is answered;  board.py: what is in the making, for each key
routes.py       drawing, progress, interrupting;  lists.py: what there is
"""

from __future__ import annotations

from fastapi import APIRouter

from limner.serve.a1111 import lists, routes
from limner.serve.a1111.answers import shape
from limner.serve.a1111.board import Board
from limner.serve.service import Service

PREFIX = "/sdapi/v1/"

__all__ = ["PREFIX", "router", "shape"]


def router(service: Service) -> APIRouter:
    """All of it, for this service."""
    found, board = APIRouter(prefix="/sdapi/v1", responses=routes.PROBLEMS, tags=["AUTOMATIC1111"]), Board(service)
    routes.add(found, service, board)
    lists.add(found, service, board)
    return found
