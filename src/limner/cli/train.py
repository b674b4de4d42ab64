"""`limner train`: a recipe, and perhaps somebody's own pictures, to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as recipes/flow-scenes.toml.")],
    data: Annotated[str | None, typer.Option(help="Captioned pictures, instead of the recipe's source.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Start from the weights of this model.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's directory; if not given, runs/ and the name.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that --out holds.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the whole recipe and stop.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="table.key=value; may be repeated.")] = None,
) -> None:
    """Train a model. Stop it when you like, and go on with --resume."""
    from limner.cli import training

    order = training.Order(
        recipe=recipe, data=data, start=from_, out=out or Path("runs") / recipe.stem, resume=resume,
        changes=tuple(set_ or ()),
    )  # fmt: skip
    if dry_run:
        typer.echo(training.resolve(order).to_toml(), nl=False)
        return
    from limner.cli.bar import show

    show(order)
