"""What `limner eval` does: examine, with the time left shown, and write the report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from limner.evaluate.suites import scenes
from limner.evaluate.suites.ledger import Ledger
from limner.pipeline import DEFAULT, find_model, name_of

EVALUATIONS = Path("evaluations")
TENTHS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed."""

    model: str | None
    n: int
    seed: int
    knobs: dict[str, Any]
    out: Path | None


def show(order: Order) -> None:
    model = order.model or DEFAULT
    folder = order.out or EVALUATIONS / name_of(find_model(model))
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with watching(console) as watch:
        ledger = examined(model, folder, order, watch)
    console.print("Reading the pictures' likeness to real ones, and writing the report")
    scenes.report(ledger).write(folder)
    Console().print(f"The report: {folder / 'report.html'} (and .md, .json)", soft_wrap=True, highlight=False)


def examined(model: str, folder: Path, order: Order, watch: Watch) -> Ledger:
    return scenes.run(
        model, folder, count=order.n, seed=order.seed, knobs=order.knobs, begin=watch.begin, advance=watch.advance
    )


@contextlib.contextmanager
def watching(console: Console) -> Iterator[Watch]:
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield Watch(bar)


class Watch:
    """Pictures done, and the time left; a line for each tenth where there is no terminal."""

    def __init__(self, bar: Progress) -> None:
        self._bar, self._task = bar, bar.add_task("drawing and reading")
        self._total = self._done = 0

    def begin(self, done: int, total: int) -> None:
        self._total, self._done = total, done
        self._bar.update(self._task, completed=done, total=total)
        self._bar.console.print(f"{total:,} pictures" + (f", of which {done:,} are there already" if done else ""))

    def advance(self) -> None:
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        if self._bar.disable and self._done * TENTHS // self._total > (self._done - 1) * TENTHS // self._total:
            self._bar.console.print(f"{self._done:,} of {self._total:,} pictures")
