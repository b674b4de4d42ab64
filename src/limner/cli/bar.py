"""A training run on the terminal: images, images per second, loss, time left."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from limner import families
from limner.cli import training
from limner.train.loop import Progress as Report
from limner.train.signals import interruptions


def show(order: training.Order) -> None:
    """Train as ordered, on the terminal, and say at the end where everything is."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    run = training.prepare(order, console.print)
    with interruptions() as stop:
        reached = follow(run.train(stop), console, images=run.recipe.train.images)
    if reached < run.recipe.train.images:
        console.print(f"Stopped and saved. Go on with the same command and --resume --out {order.out}")
    if run.recipe.samples.prompts:
        console.print(f"Pictures on the way: {run.folder.samples}")
    draws = families.find(run.recipe.model.family).draws()
    use = "draw with it: limner draw" if draws else "let it judge: limner draw -n 16 --rerank 4"
    option = "--model" if draws else "--judge"
    console.print(f'The model: {run.folder.model}; {use} "..." {option} {run.folder.model}')


def follow(reports: Iterable[Report], console: Console, *, images: int) -> int:
    """Train to the end while showing it; the images reached. Where there is no terminal, a line at intervals."""
    reached = 0
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("images"),
        TextColumn("{task.fields[speed]:.1f}/s"), TimeRemainingColumn(), TextColumn("left"),
    )  # fmt: skip
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=images, speed=0.0)
        for report in reports:
            reached = report.images
            bar.update(task, completed=reached, speed=report.speed, description=_losses(report))
            _say(report, console)
    return reached


def _losses(report: Report) -> str:
    losses = ", ".join(f"{name} {one['loss']:.4f}" for name, one in report.losses.items())
    return f"loss: {losses}" + (f" ({report.skipped} updates skipped)" if report.skipped else "")


def _say(report: Report, console: Console) -> None:
    happened = []
    if report.validation:
        happened.append(
            "validation " + ", ".join(f"{name} {one['loss']:.4f}" for name, one in report.validation.items())
        )
    if report.picture is not None:
        happened.append(f"pictures {report.picture}")
    if report.checkpoint is not None and not console.is_terminal:
        happened.append(f"checkpoint {report.checkpoint.name}, {_losses(report)}, {report.speed:.1f} images/s")
    if happened:
        console.print(f"{report.images:,} images: " + "; ".join(happened), soft_wrap=True, highlight=False)
