"""What `limner score` does: draw, judge, keep, print."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table as Shown

from limner.core import check, unparse
from limner.evaluate.suite import KINDS, SPLITS, Judged, suite
from limner.evaluate.table import COLUMNS, Table
from limner.pipeline import Pipeline
from limner.provenance import save_picture
from limner.shelf import DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed."""

    model: str | None
    prompts: int
    seed: int
    steps: tuple[int, ...]  # a pair of tables for each, one pair for the model's own number where there is none
    guidance: float | None
    out: Path | None

    def settings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """What is to be drawn with, and how its folders are marked."""
        for steps in self.steps or (None,):
            asked = {"steps": steps, "guidance": self.guidance}
            mark = f"-{steps}" if len(self.steps) > 1 else ""
            yield mark, {key: value for key, value in asked.items() if value is not None}


def show(order: Order, *, as_json: bool) -> None:
    tables = carry_out(order, Console(stderr=True))
    if as_json:
        print(json.dumps([table.to_json() for table in tables], ensure_ascii=False, indent=1))
        return
    for table in tables:
        Console().print(_shown(table))


def carry_out(order: Order, console: Console) -> list[Table]:
    """A table for each split and number of steps. Where pictures are kept, a folder must be new."""
    if order.out is not None:
        check(not order.out.exists(), f"--out {order.out} exists already; name a new folder")
    pipeline = Pipeline.from_pretrained(order.model or DEFAULT)
    for _, knobs in order.settings():
        pipeline.knobs(knobs)  # what is wrong with the second is said before the first is drawn
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    tables = []
    with Progress(*columns, console=console, transient=True) as bar:
        for mark, knobs in order.settings():
            for split in SPLITS:
                task = bar.add_task(f"{split}{mark}", total=order.prompts * len(KINDS))
                examine = partial(suite, pipeline, split=split, prompts=order.prompts, seed=order.seed, knobs=knobs)
                folder = None if order.out is None else order.out / f"{split}{mark}"
                tables.append(_examined(examine, folder, partial(bar.advance, task)))
    return tables


def _examined(examine: Callable[..., Table], folder: Path | None, advance: Callable[[], object]) -> Table:
    if folder is None:
        return examine(watch=lambda judged: advance())
    folder.mkdir(parents=True)
    with (folder / "readings.jsonl").open("w", encoding="utf-8") as lines:

        def keep(judged: Judged) -> None:
            _keep(judged, folder, lines)
            advance()

        table = examine(watch=keep)
    (folder / "table.json").write_text(json.dumps(table.to_json(), ensure_ascii=False, indent=1), encoding="utf-8")
    (folder / "table.md").write_text(table.to_markdown(), encoding="utf-8")
    return table


def _keep(judged: Judged, folder: Path, lines: TextIO) -> None:
    name = f"{judged.truth.kind}-{judged.index:04}.png"
    save_picture(judged.picture.image, folder / name, judged.picture.settings)
    entry = {
        "picture": name,
        "caption": judged.truth.caption,
        "rows": judged.reading.rows(),
        "reading": unparse(judged.reading),
    }
    lines.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _shown(table: Table) -> Shown:
    about = table.about
    knobs = ", ".join(f"{key} {value}" for key, value in about["knobs"].items())
    title = f"{about['model']}, {about['split']} scenes, with 95 % intervals"
    shown = Shown(*COLUMNS, title=title, caption=knobs, box=SIMPLE, pad_edge=False)
    for column in shown.columns[1:]:
        column.justify = "right"
    for line in table.lines():
        shown.add_row(*line)
    return shown
