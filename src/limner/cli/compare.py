"""`limner compare`: families side by side, each with the same budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    entries: Annotated[
        list[Path], typer.Argument(metavar="RECIPE|RUN...", help="Recipes to train, or runs as they are.")
    ],
    budget: Annotated[str | None, typer.Option(help="Of each recipe's training: 20m, 200kimg or 3Pflop, say.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time, which share the cores evenly.")] = 1,
    n: Annotated[int, typer.Option("--n", min=4, help="How many captions of each task.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the captions, and the first picture's.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="table.key=value, for every recipe.")] = None,
    judge: Annotated[
        str | None, typer.Option(help="A CLIP: a model's name or folder; if not given, the shipped one.")
    ] = None,
    extractor: Annotated[
        list[str] | None, typer.Option(help="KIND=FILE, with inception, inception-clean or dinov2; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the runs, the examinations and the report go.")] = Path("comparison"),
) -> None:
    """Train recipes on the same data within the same budget, examine all, and write one table.

    Stop it when you like: the same command goes on.
    """
    from limner.cli import comparing
    from limner.cli.entries import Budget, Order

    order = Order(
        entries=tuple(entries), budget=None if budget is None else Budget.parse(budget), jobs=jobs, n=n,
        seed=seed, changes=tuple(set_ or ()), judge=judge, extractors=tuple(extractor or ()), out=out,
    )  # fmt: skip
    comparing.show(order)
