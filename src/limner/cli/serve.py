"""`limner serve`: a page and two HTTP APIs, for others to draw with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL...", help="Names or folders; the first is the usual one.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at. Other machines need a key: limner keys.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 is any that is free.")] = 8188,
    name: Annotated[list[str] | None, typer.Option(help="Another name that requests may come by.")] = None,
    data: Annotated[Path, typer.Option(help="Jobs and pictures are kept here.")] = Path("studio"),
    ledger: Annotated[str | None, typer.Option(help="Keep the jobs in this PostgreSQL, by its URL, instead.")] = None,
    queue: Annotated[int, typer.Option(min=1, help="At most so many pictures wait.")] = 256,
    wait: Annotated[float, typer.Option(min=1, help="Seconds; what is not begun by then is not drawn.")] = 600.0,
    memory: Annotated[float, typer.Option(min=0.1, help="GiB for all models that are loaded.")] = 8.0,
    pictures: Annotated[float, typer.Option(min=0.001, help="GiB of pictures that are kept.")] = 10.0,
    days: Annotated[float, typer.Option(min=0.001, help="So long pictures and jobs are kept.")] = 30.0,
    grace: Annotated[float, typer.Option(min=0, help="Seconds to finish what was begun, when told to stop.")] = 30.0,
    page: Annotated[bool, typer.Option("--page/--no-page", help="The page for people.")] = True,
    log_prompts: Annotated[bool, typer.Option("--log-prompts", help="Write prompts to the log, too.")] = False,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16, where a model has a choice.")] = "auto",
    compile_: Annotated[str, typer.Option("--compile", help="auto, on or off, where a model has a choice.")] = "auto",
) -> None:
    """Serve a page to draw on, and the APIs of OpenAI and AUTOMATIC1111, until Ctrl-C."""
    from limner.cli import serving

    order = serving.Order(
        models=models or [], host=host, port=port, names=name or [], data=data, ledger=ledger, queue=queue, wait=wait,
        memory=memory, pictures=pictures, days=days, grace=grace, page=page, log_prompts=log_prompts,
        precision=precision, compile=compile_,
    )  # fmt: skip
    serving.hold(order, say=typer.echo)
