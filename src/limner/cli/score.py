"""`limner score`: how much of what captions ask for a model draws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def score(
    model: Annotated[str | None, typer.Option(help="A name that `limner models` lists, or a folder.")] = None,
    prompts: Annotated[int, typer.Option(min=2, help="How many captions of each kind.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Of the scenes, and the first picture's.")] = 0,
    steps: Annotated[list[int] | None, typer.Option(help="Give it again for more tables.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely to follow the prompt; 1 is plain.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="Keep the pictures, the readings and the tables here.")] = None,
) -> None:
    """Draw captions of seen and unseen scenes and read back what the pictures show."""
    from limner.cli import scoring

    order = scoring.Order(
        model=model, prompts=prompts, seed=seed, steps=tuple(dict.fromkeys(steps or ())), guidance=guidance, out=out
    )
    scoring.show(order, as_json=as_json)
