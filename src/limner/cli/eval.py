"""`limner eval`: how good a model is, in numbers that carry their own doubt, and in pictures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Suite(StrEnum):
    SCENES = "scenes"
    CAPTIONS = "captions"


def evaluate(
    model: Annotated[str | None, typer.Argument(help="A name that `limner models` lists, or a folder.")] = None,
    suite: Annotated[Suite | None, typer.Option(help="What to ask; captions where --data is given.")] = None,
    data: Annotated[Path | None, typer.Option(help="Captioned pictures, whose held-out part is asked for.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="Draw these for another program's scorer, and score nothing.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", min=4, help="How many captions, of each task of the scenes.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the captions, and the first picture's.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="knob=value; may be repeated.")] = None,
    judge: Annotated[
        str | None, typer.Option(help="A CLIP: a model's name or folder. On scenes, the shipped one.")
    ] = None,
    extractor: Annotated[
        list[str] | None, typer.Option(help="KIND=FILE, with inception, inception-clean or dinov2; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The report's folder; if not given, one in evaluations/.")] = None,
) -> None:
    """Draw what is asked, read it back or measure it, and report."""
    from limner.cli import drawing, evaluating

    order = evaluating.Order(
        model=model, suite=None if suite is None else suite.value, data=data, prompts=prompts, n=n, seed=seed,
        knobs=drawing.knobs(set_ or [], steps=None, guidance=None), judge=judge, extractors=tuple(extractor or ()),
        out=out,
    )  # fmt: skip
    evaluating.show(order)
