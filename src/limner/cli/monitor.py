"""`limner monitor`: what people asked of a service of late, and whether it still does it well."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def monitor(
    data: Annotated[Path, typer.Option(help="The folder of the service, as limner serve has it.")] = Path("studio"),
    ledger: Annotated[str | None, typer.Option(help="The URL of its PostgreSQL, where it has one.")] = None,
    model: Annotated[str, typer.Option(help="Which of its models.")] = "flow-scenes",
    since: Annotated[str, typer.Option(help="How far back: 90m, 24h or 7d.")] = "24h",
    out: Annotated[Path | None, typer.Option(help="Write a report with plots into this folder.")] = None,
    scores: Annotated[int, typer.Option(min=0, help="Score at most so many pictures.")] = 200,
    drift: Annotated[float, typer.Option(help="The limit of a distribution's distance, 0 to 1.")] = 0.3,
    failed: Annotated[float, typer.Option(help="The limit of the share of jobs that failed.")] = 0.02,
    refused: Annotated[float, typer.Option(help="The limit of the share of jobs that were refused.")] = 0.2,
    seconds: Annotated[float, typer.Option(help="Within what 95 % of the jobs are to be done.")] = 60.0,
    reference: Annotated[
        Path | None, typer.Option(help="Make the reference of the model of these captions, one a line.")
    ] = None,
) -> None:
    """Compare what was asked and drawn of late with what a model was trained on. Exit code 1: a limit is passed."""
    from limner.cli import monitoring

    if reference is not None:
        typer.echo(monitoring.make(model, reference))
        return
    order = monitoring.Order(
        data=data, ledger=ledger, model=model, since=since, out=out, scores=scores, drift=drift, failed=failed,
        refused=refused, seconds=seconds,
    )  # fmt: skip
    if monitoring.look(order, say=typer.echo):
        raise typer.Exit(1)
