"""`limner info`, `limner rerun` and `limner models`: what pictures and models say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def info(what: Annotated[str, typer.Argument(metavar="IMAGE_OR_MODEL", help="A picture, or a model.")]) -> None:
    """Show what a picture was drawn with, or what a model is and which knobs it has."""
    from limner.cli import showing

    for line in showing.about(what):
        typer.echo(line)


def rerun(
    image: Annotated[Path, typer.Argument(help="A picture that was drawn here.")],
    model: Annotated[str | None, typer.Option(help="If it is not to be found by its hash.")] = None,
    over: Annotated[Path | None, typer.Option("--image", help="What it was painted over, if it was.")] = None,
    mask: Annotated[Path | None, typer.Option(help="The mask, if there was one.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Keep the new picture there.")] = None,
) -> None:
    """Draw a picture again and say whether the pixels are the same. Exit code 0: they are; 1: they are not."""
    from limner.cli import showing

    verdict = showing.rerun(image, model=model, over=over, mask=mask, output=output)
    typer.echo(verdict.text)
    raise typer.Exit(0 if verdict.same else 1)


def models() -> None:
    """List the models there are: the shipped ones, and those of the runs in ./runs."""
    from limner.cli import showing

    for line in showing.models():
        typer.echo(line)
