"""What the studio asks of who keeps the jobs: the ledger, or a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from limner.canvas import Size
from limner.serve.orders import Drawn, Job, Order, State


class Keeper(Protocol):
    """All may raise: a job that could not be begun is begun again a little later, and one whose picture could not be
    kept fails. `fence` is what `began` said; None stands for a job that was not begun, or was `lost` since."""

    async def files(self, order: Order) -> tuple[bytes, ...] | None:
        """The image and the mask that it names, PNG files; None where one of them is gone."""
        ...

    async def began(self, job: Job) -> int | State:
        """Its first picture is about to be drawn: its new fence or, where nobody wants it any more, how it ended. Said
        again of a job that was begun, of which the studio has not heard, it is as good."""
        ...

    async def drawn(
        self, job: Job, fence: int, index: int, pixels: bytes, size: Size, settings: Mapping[str, Any]
    ) -> Drawn | None:
        """Keep a picture: RGB, 8 bits each, row by row, of `size` (height, width), with its `provenance.Settings` as
        JSON. None where the fence is an old one: then the studio lets go of the job."""
        ...

    async def ended(self, job: Job, fence: int | None, state: State, error: str | None) -> None:
        """It is over, and in which state; `error` may be shown to who asked."""
        ...

    async def lost(self, job: Job, fence: int) -> bool:
        """It was begun and will not be finished by who began it. Whether this studio, if it goes on, shall draw again
        what is missing: it is then begun anew. Where not, it ends as failed."""
        ...
