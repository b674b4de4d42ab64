"""`limner eval`: how good a model is, in numbers that carry their own doubt, and in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    model: Annotated[str | None, typer.Argument(help="A name that `limner models` lists, or a folder.")] = None,
    n: Annotated[int, typer.Option("--n", min=4, help="How many captions of each task.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the captions, and the first picture's.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="knob=value; may be repeated.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The report's folder; if not given, evaluations/ and the name.")
    ] = None,
) -> None:
    """Draw what is asked, read it back, and report. Stop it when you like: the same command goes on."""
    from limner.cli import drawing, evaluating

    knobs = drawing.knobs(set_ or [], steps=None, guidance=None)
    evaluating.show(evaluating.Order(model=model, n=n, seed=seed, knobs=knobs, out=out))
