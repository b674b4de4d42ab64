"""`limner convert`: weights out of a pickle, the one command that opens one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Kept(StrEnum):
    TRAINED = "trained"
    AVERAGED = "averaged"


def convert(
    old: Annotated[Path, typer.Argument(metavar="OLD.ckpt", help="A file of weights in a pickle (.ckpt, .pt, .bin).")],
    new: Annotated[Path, typer.Argument(metavar="NEW.safetensors", help="The file to write.")],
    weights: Annotated[
        Kept, typer.Option(help="Where a training kept running means (EMA) too: which to take.")
    ] = Kept.TRAINED,
) -> None:
    """Make safetensors of an old file of weights, by a process that can do nothing else."""
    from limner.cli import converting

    converting.carry_out(old, new, weights.value, say=typer.echo)
