"""The studio as it stands, for who counts and watches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Working:
    """A worker. `together` is how many pictures took the last step."""

    model: str
    pid: int
    ready: bool
    seconds: float
    memory: int
    room: int
    drawing: int
    together: int
    steps: int
    pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """`batches` counts steps by how many pictures took them, `falls` workers that died, by their model."""

    waiting: int
    drawing: int
    jobs: int
    workers: tuple[Working, ...]
    batches: dict[int, int]
    steps: int
    pictures: int
    falls: dict[str, int]
    draining: bool
