"""What `limner compare` does: train each recipe in a process of its own, examine all, and set them side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from limner.cli.entries import Entry, Order, entries_of, examination, flops
from limner.cli.evaluating import handed_in, watching
from limner.cli.trainings import machine_of, train_all
from limner.evaluate import comparison
from limner.evaluate.suites import scenes
from limner.pipeline import Pipeline
from limner.shelf import JUDGE
from limner.train import checkpoint, cost, machine

TIMED = 8  # pictures, drawn one at a time


def show(order: Order) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    machine.prepare()
    extractors = handed_in(order.extractors, order.judge or JUDGE)
    entries = entries_of(order, console)
    try:
        train_all([one for one in entries if one.done < 1.0], order, console)
        contestants = [_examined(one, order, console) for one in entries]
    except KeyboardInterrupt:
        console.print("All that is done is kept: the same command goes on")
        raise
    console.print("Comparing, and writing the report")
    comparison.compare(contestants, setting=_setting(entries, order), extractors=extractors).write(order.out)
    Console().print(f"The comparison: {order.out / 'report.html'} (and .md, .json)", soft_wrap=True, highlight=False)


def _setting(entries: Sequence[Entry], order: Order) -> str:
    trained = [one.name for one in entries if one.source is not None]
    runs = ", ".join(one.name for one in entries if one.source is None)
    as_they_were = f"As they were, with what they had been given: {runs}." if runs else ""
    if not trained:
        return as_they_were
    data = entries[0].recipe.data
    mix = ", ".join(f"{kind} {share:g}" for kind, share in data.mix.items()) or "the usual mix"
    given = f"Each recipe was given {order.budget}, on {machine_of(order)}, with the same seeds and the same data: "
    return f"{given}{data.source}, {mix}. {as_they_were}".rstrip()


# ---------------------------------------------------------------------------------------------------
# Examining.


def _examined(entry: Entry, order: Order, console: Console) -> comparison.Contestant:
    console.print(f"Examining {entry.name}")
    with watching(console) as watch:
        ledger = scenes.run(
            entry.folder.model, examination(entry, order), count=order.n, seed=order.seed, sweeping=False,
            begin=watch.begin, advance=watch.advance,
        )  # fmt: skip
    return comparison.Contestant(entry.name, entry.recipe.model.family, _cost(entry), ledger)


def _cost(entry: Entry) -> comparison.Cost:
    pipeline = Pipeline.from_pretrained(entry.folder.model)
    _, contents = checkpoint.newest(entry.folder.checkpoints)
    requests = pipeline.requests(["a red apple on a beach"] * TIMED, seeds=0)
    list(pipeline.stream(requests[:1]))
    began = time.perf_counter()
    list(pipeline.stream(requests, batch=1))
    seconds = (time.perf_counter() - began) / TIMED
    return comparison.Cost(
        parameters=sum(one.numel() for one in pipeline.family.parameters()), pixels=pipeline.family.config.image_size,
        images=contents.state["images"], seconds=contents.state["seconds"], memory=_memory(entry.folder.log),
        training_flops=flops(entry.recipe, entry.folder), drawing_seconds=seconds,
        drawing_flops=cost.of_drawing(pipeline.family, requests[:1]),
    )  # fmt: skip


def _memory(log: Path) -> int:
    return max((line.get("memory", 0) for line in _lines(log)), default=0)


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    file: TextIO
    with log.open(encoding="utf-8") as file:
        for line in file:
            try:
                yield json.loads(line)
            except ValueError:  # torn by a kill
                continue
