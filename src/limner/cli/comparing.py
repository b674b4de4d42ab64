"""What `limner compare` does: train each recipe in a process of its own, examine all, and set them side by side."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from limner import families
from limner.cli import training
from limner.cli.evaluating import handed_in, watching
from limner.core import InputError, check
from limner.evaluate import comparison
from limner.evaluate.suites import scenes
from limner.evaluate.suites.ledger import Ledger
from limner.pipeline import Pipeline
from limner.train import checkpoint, cost, machine
from limner.train.folder import RunFolder
from limner.train.recipe import Recipe

UNITS = {
    "s": ("seconds", 1), "m": ("seconds", 60), "h": ("seconds", 3600),
    "img": ("images", 1), "kimg": ("images", 10**3), "Mimg": ("images", 10**6),
    "Tflop": ("flops", 10**12), "Pflop": ("flops", 10**15), "Eflop": ("flops", 10**18),
}  # fmt: skip
PATIENCE = 1.0  # seconds between looks at the trainings
TIMED = 8  # pictures, drawn one at a time


@dataclass(frozen=True, slots=True)
class Budget:
    """What each training may use: so many seconds, images or floating-point operations."""

    kind: str
    amount: float

    @staticmethod
    def parse(text: str) -> Budget:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]+)", text)
        if match is None or match[2] not in UNITS or float(match[1]) <= 0:
            raise InputError(f'--budget "{text}" is no number with a unit of {", ".join(UNITS)}; write 20m, say')
        kind, factor = UNITS[match[2]]
        return Budget(kind, float(match[1]) * factor)

    def __str__(self) -> str:
        if self.kind == "seconds":
            minutes = self.amount / 60
            return f"{minutes:g} minutes of training" if minutes >= 1 else f"{self.amount:g} seconds of training"
        if self.kind == "images":
            return f"{self.amount:,.0f} images"
        return f"{self.amount / 1e15:g} PFLOP of training"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed."""

    entries: tuple[Path, ...]
    budget: Budget | None
    jobs: int
    n: int
    seed: int
    changes: tuple[str, ...]
    judge: str | None
    extractors: tuple[str, ...]
    out: Path


@dataclass(frozen=True, slots=True)
class Entry:
    """A run that is or will be in `folder`; `source` is the recipe's file where it is to be trained here."""

    name: str
    folder: RunFolder
    recipe: Recipe
    source: Path | None
    changes: tuple[str, ...]

    @property
    def done(self) -> float:
        """The fraction of its training, from the newest checkpoint."""
        if self.source is None:
            return 1.0
        if not self.folder.holds_run():
            return 0.0
        _, contents = checkpoint.newest(self.folder.checkpoints)
        train, state = self.recipe.train, contents.state
        return float(state["images"] / train.images if train.seconds is None else state["seconds"] / train.seconds)


def show(order: Order) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    machine.prepare()
    extractors = handed_in(order.extractors, order.judge)
    entries = _entries(order, console)
    try:
        _train_all([one for one in entries if one.done < 1.0], order, console)
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
    given = f"Each recipe was given {order.budget}, on {_machine(order)}, with the same seeds and the same data: "
    return f"{given}{data.source}, {mix}. {as_they_were}".rstrip()


# ---------------------------------------------------------------------------------------------------
# What there is to compare.


def _entries(order: Order, console: Console) -> list[Entry]:
    """All on the data and by the seed of the first; what can be wrong is said before anything is trained."""
    check(len(order.entries) >= 2, f"there is {len(order.entries)} to compare; give 2 or more recipes or runs")
    for path in order.entries:
        check(path.exists(), f"there is no recipe and no run {path}")
    first = _entry(order.entries[0], order)
    alike = replace(order, changes=(*order.changes, *_data(first.recipe)))
    for path in (path for path in order.entries if not path.is_dir()):
        own = _resolved(path, order, order.changes)
        if _data(own) != _data(first.recipe):
            console.print(f"{path}: it has data of its own, and is trained on those of {first.name}")
    entries = [_entry(path, alike) for path in order.entries]
    _check_comparable(entries)
    for one in entries:
        _check_unchanged(one)
        Ledger.check_alike(_examination(one, order), count=order.n, seed=order.seed)
    return entries


def _check_unchanged(entry: Entry) -> None:
    """A run that was begun here must be the one that is asked for: its numbers stand under this order's name."""
    if entry.source is None or not entry.folder.holds_run():
        return
    for key, (before, now) in training.changes_of(Recipe.read(entry.folder.recipe), entry.recipe).items():
        raise InputError(f"{entry.folder.path} was trained with {key} = {before!r}, not {now!r}; choose another --out")


def _data(recipe: Recipe) -> tuple[str, ...]:
    """The recipe's data and seed as changes to another."""
    mix = ", ".join(f"{kind} = {share}" for kind, share in recipe.data.mix.items())
    return (
        f'data.source="{recipe.data.source}"', f"data.seed={recipe.data.seed}", f"data.mix={{{mix}}}",
        f"train.seed={recipe.train.seed}",
    )  # fmt: skip


def _entry(path: Path, order: Order) -> Entry:
    if path.is_dir():
        folder = RunFolder(path)
        check(folder.holds_run(), f"{path} holds no run: give the folder that limner train wrote, or a recipe")
        return Entry(path.name, folder, Recipe.read(folder.recipe), None, ())
    check(order.budget is not None, f"{path} is to be trained: give --budget 20m, say")
    assert order.budget is not None
    changes = order.changes
    if order.budget.kind == "flops":
        changes += (f"train.images={_images(path, order)}",)
    else:
        changes += (f"train.{order.budget.kind}={order.budget.amount:g}",)
    return Entry(path.stem, RunFolder(order.out / path.stem), _resolved(path, order, changes), path, changes)


def _images(path: Path, order: Order) -> int:
    """As many as the operations suffice for."""
    assert order.budget is not None
    return max(1, round(order.budget.amount / _flops(_resolved(path, order, order.changes))))


def _resolved(path: Path, order: Order, changes: tuple[str, ...]) -> Recipe:
    return training.resolve(
        training.Order(recipe=path, data=None, start=None, out=order.out / path.stem, resume=False, changes=changes)
    )


def _check_comparable(entries: Sequence[Entry]) -> None:
    """One name for each, families that draw, the same data and the same seeds."""
    first = entries[0]
    for one in entries:
        check(sum(one.name == other.name for other in entries) == 1, f'two entries are called "{one.name}"; rename one')
        check(families.find(one.recipe.model.family).draws(), f"{one.name}: {one.recipe.model.family} draws nothing")
        for what, mine, theirs in (
            ("data", one.recipe.data, first.recipe.data),
            ("seed", one.recipe.train.seed, first.recipe.train.seed),
        ):
            check(mine == theirs, f"{one.name} and {first.name} differ in {what}: {mine} and {theirs}; set both alike")
    check(
        first.recipe.data.source == "scenes", f"data = {first.recipe.data.source}: only the scenes can be compared on"
    )


# ---------------------------------------------------------------------------------------------------
# Training: some at a time, each in a process that has its share of the cores.


def _train_all(entries: Sequence[Entry], order: Order, console: Console) -> None:
    waiting, running = list(entries), dict[str, tuple[Entry, subprocess.Popen[bytes]]]()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks = {one.name: bar.add_task(one.name, total=1.0, completed=one.done, said="waiting") for one in entries}
        try:
            while waiting or running:
                while waiting and len(running) < order.jobs:
                    entry = waiting.pop(0)
                    running[entry.name] = (entry, _started(entry, order, console))
                time.sleep(PATIENCE)
                for one, process in list(running.values()):
                    line = _last_line(one.folder.log)
                    bar.update(
                        tasks[one.name], completed=line.get("fraction", 0.0), said=f"{line.get('images', 0):,} images"
                    )
                    if process.poll() is not None:
                        del running[one.name]
                        _check_ended_well(one, process.returncode, console)
        finally:
            for _, process in running.values():
                process.send_signal(signal.SIGINT)  # they save, and end
            for _, process in running.values():
                process.wait()


def _started(entry: Entry, order: Order, console: Console) -> subprocess.Popen[bytes]:
    assert entry.source is not None
    resume = entry.folder.holds_run()
    changes = [part for change in entry.changes for part in ("--set", change)]
    command = [sys.executable, "-m", "limner.cli.main", "train", str(entry.source), "--out", str(entry.folder.path)]
    order.out.mkdir(parents=True, exist_ok=True)
    threads = {"OMP_NUM_THREADS": str(_threads(order))}
    console.print(f"{'Going on with' if resume else 'Training'} {entry.name}: {_output(entry)}")
    with _output(entry).open("ab") as output:
        return subprocess.Popen(
            [*command, *changes, *["--resume"] * resume], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, **threads}, preexec_fn=_die_with_parent, start_new_session=True,
        )  # fmt: skip


def _die_with_parent() -> None:
    """In the child: an interrupt, on which it saves and ends, when whoever compares is no more (Linux)."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _output(entry: Entry) -> Path:
    return entry.folder.path.with_name(f"{entry.name}.log")


def _check_ended_well(entry: Entry, code: int, console: Console) -> None:
    if code:
        lines = _output(entry).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise InputError(
            f"{entry.name} ended with {code}: {lines[-1] if lines else 'nothing said'}; see {_output(entry)}"
        )
    console.print(f"{entry.name} is trained")


def _last_line(log: Path) -> dict[str, Any]:
    """Of log.jsonl; empty where there is none, or it is being written."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
            found: dict[str, Any] = json.loads(file.read().splitlines()[-1])
            return found
    except (OSError, ValueError, IndexError):
        return {}


# ---------------------------------------------------------------------------------------------------
# Examining.


def _examined(entry: Entry, order: Order, console: Console) -> comparison.Contestant:
    console.print(f"Examining {entry.name}")
    with watching(console) as watch:
        ledger = scenes.run(
            entry.folder.model, _examination(entry, order), count=order.n, seed=order.seed, sweeping=False,
            begin=watch.begin, advance=watch.advance,
        )  # fmt: skip
    return comparison.Contestant(entry.name, entry.recipe.model.family, _cost(entry), ledger)


def _examination(entry: Entry, order: Order) -> Path:
    return order.out / f"{entry.name}-examination"


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
        training_flops=_flops(entry.recipe, entry.folder), drawing_seconds=seconds,
        drawing_flops=cost.of_drawing(pipeline.family, requests[:1]),
    )  # fmt: skip


def _flops(recipe: Recipe, folder: RunFolder | None = None) -> float:
    """Of an image in training. Where there is no run yet, of a tokenizer with as many tokens as it may have."""
    source, _ = training.sources(recipe)
    tokenizer = (
        training.kept_tokenizer(folder) if folder else training.learnt_tokenizer(recipe, source, lambda said: None)
    )
    family = families.build(recipe.model.family, recipe.model.config, tokenizer)
    return cost.of_training(family, recipe, source)


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


def _machine(order: Order) -> str:
    device = machine.device()
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    at_a_time = f", {order.jobs} trainings at a time" if order.jobs > 1 else ""
    return f"{_threads(order)} of {machine.cores()} CPU cores{at_a_time}"


def _threads(order: Order) -> int:
    """Of each training: what somebody set, or an even share."""
    return int(os.environ.get("OMP_NUM_THREADS") or max(1, machine.cores() // order.jobs))
