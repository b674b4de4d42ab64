"""`limner arena`: people say which of two pictures is the better one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def arena(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Models, runs, or folders of pictures; two or more.")
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="A file of prompts, one a line.")] = None,
    scenes: Annotated[Literal["seen", "unseen"], typer.Option(help="Whose captions, where there is nothing else.")] = (
        "seen"
    ),
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="At most so many prompts.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the scenes, and of the pictures.")] = 0,
    steps: Annotated[int | None, typer.Option(help="For the models that draw.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely to follow the prompt; 1 is plain.")] = None,
    out: Annotated[Path, typer.Option(help="Votes and pictures are kept here; go on with the same.")] = Path("arena"),
    draw_first: Annotated[bool, typer.Option("--draw-first", help="Draw everything, then begin.")] = False,
    host: Annotated[str, typer.Option(help="The address of this machine to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = 8765,
    table: Annotated[Path | None, typer.Option(help="Print the table of these votes, and serve nothing.")] = None,
    export: Annotated[Path | None, typer.Option(help="With --table: write every vote there, as JSON lines.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --table: print it as JSON.")] = False,
) -> None:
    """Show two pictures of a prompt on a page of this machine, blind, and rate the models by people's votes."""
    from limner.cli import judging

    judging.check_options(runs=runs or [], table=table, export=export, as_json=as_json)
    if table is not None:
        judging.report(table, export=export, as_json=as_json)
        return
    order = judging.Order(
        runs=runs or [], prompts=prompts, scenes=scenes, count=count, seed=seed, steps=steps, guidance=guidance,
        out=out, draw_first=draw_first, host=host, port=port,
    )  # fmt: skip
    judging.hold(order, say=typer.echo)
