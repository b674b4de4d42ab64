"""Jobs that were drawn before, and their pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from limner.serve.ledger import Key
from limner.serve.orders import Drawn, Job
from limner.serve.page import showing
from limner.serve.service import Service

PAGE = 24  # jobs


@dataclass(frozen=True)
class Kept:
    """A picture of one's own."""

    job: Job
    drawn: Drawn

    def item(self, base: str) -> tuple[str, str]:
        """For a gr.Gallery: the address and the caption, which it shows as text."""
        return f"{base}{showing.FILES}/{self.drawn.digest}.png", self.job.order.prompt[:80] or "without a prompt"


async def kept(service: Service, key: Key | None, before: str | None = None) -> list[Kept]:
    """The newest first."""
    jobs = await service.jobs(key, limit=PAGE, before=before)
    return [Kept(job, one) for job in jobs for one in sorted(job.drawn, key=lambda drawn: drawn.index)]


def settings(one: Kept) -> dict[str, Any]:
    """What has to be in the fields to draw it again."""
    order = one.job.order
    return {
        "model": order.model, "prompt": order.prompt, "negative": order.negative_prompt,
        "seed": one.drawn.settings["seed"], "knobs": one.drawn.settings["knobs"],
        "size": (one.drawn.settings["height"], one.drawn.settings["width"]),
    }  # fmt: skip
