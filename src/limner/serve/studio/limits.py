"""How much a studio takes on, and how long it puts up with workers that fail."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`waiting`: pictures in the queue. `memory`: bytes of all workers; a single one may always be there. `held`: how
    many times what it draws at once a worker is given to choose from. `falls`: workers of a model that may die in a
    row, before what waits for it fails; between two of them passes `backoff`, twice as long each time, up to `longest`.
    `silence`: seconds in which a worker that has work says nothing, and is taken for dead. `patience`: seconds that
    pictures wait for memory before a worker that has drawn for as long leaves, though it has more to draw."""

    waiting: int = 256
    memory: int = 8 << 30
    held: float = 4.0
    falls: int = 5
    backoff: float = 0.5
    longest: float = 30.0
    silence: float = 600.0
    patience: float = 10.0
