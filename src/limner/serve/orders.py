"""The words of the service: what was asked for, what became of it, and what is told on the way.

They are JSON on the wire to a worker and in the database, so nothing in here holds a tensor; a picture that somebody
sent is named by the SHA-256 of its bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from limner.canvas import Margins, Size
from limner.core import check

MOST_PICTURES = 10  # of one order
MOST_PREVIEWS = 100  # of one picture
ATTEMPTS = 2  # workers that a job is given to, one after another, while they die of it
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`count` pictures of one prompt, seeded `seed`, `seed + 1` and so on: any one of them can be drawn alone.

    `knobs` are the family's, as far as they were given. `image` and `mask` are SHA-256 sums of PNG files in the
    pictures' store; what is white in the mask is painted, and blended over `feather` pixels. `previews` is how many
    running estimates of each picture somebody would like to see, at steps as evenly spaced as can be.
    """

    model: str
    prompt: str
    seed: int
    negative_prompt: str = ""
    count: int = 1
    knobs: dict[str, Any] = field(default_factory=dict)
    size: Size | None = None
    image: str | None = None
    mask: str | None = None
    strength: float | None = None
    extend: Margins | None = None
    exact: bool = False
    feather: int | None = None
    upscale: float = 1.0
    previews: int = 0

    def __post_init__(self) -> None:
        check(1 <= self.count <= MOST_PICTURES, f"{self.count} pictures are not from 1 to {MOST_PICTURES}")
        check(0 <= self.previews <= MOST_PREVIEWS, f"{self.previews} previews are not from 0 to {MOST_PREVIEWS}")
        for name in ("image", "mask"):
            value = getattr(self, name)
            check(value is None or DIGEST.fullmatch(value) is not None, f"{name} is no SHA-256 sum in hexadecimal")
        check(self.mask is None or self.image is not None, "a mask needs its image: give the image too")


class State(StrEnum):
    """A job is queued, then running, and then one of the others for good.

    `expired`: its time had passed before it was begun. `refused`: the model cannot draw what was asked for. `failed`:
    we are at fault. Both of these have an error, which may be shown to who asked.
    """

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def over(self) -> bool:
        return self not in (State.QUEUED, State.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A finished picture of a job: number `index` of `count`, a PNG file of this SHA-256, and its settings as JSON."""

    index: int
    digest: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An order that was accepted: from then on it is not lost.

    `key` is the id of the key that it came with, or None; `fence` counts how often it was given out to be drawn: who
    holds an older number has lost it. Times are seconds since 1970.
    """

    id: str
    order: Order
    key: int | None
    state: State
    fence: int
    accepted: float
    deadline: float
    finished: float | None = None
    error: str | None = None
    drawn: tuple[Drawn, ...] = ()
