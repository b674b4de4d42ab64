"""What `limner compare` is to compare: the budget, the order, and the recipes and runs that are entered."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from limner import families
from limner.cli import training
from limner.core import InputError, check
from limner.evaluate.suites.scenes.ledger import Ledger
from limner.train import checkpoint, cost
from limner.train.folder import RunFolder
from limner.train.recipe import Recipe

UNITS = {
    "s": ("seconds", 1), "m": ("seconds", 60), "h": ("seconds", 3600),
    "img": ("images", 1), "kimg": ("images", 10**3), "Mimg": ("images", 10**6),
    "Tflop": ("flops", 10**12), "Pflop": ("flops", 10**15), "Eflop": ("flops", 10**18),
}  # fmt: skip


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


def entries_of(order: Order, console: Console) -> list[Entry]:
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
        Ledger.check_alike(examination(one, order), count=order.n, seed=order.seed)
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
    return max(1, round(order.budget.amount / flops(_resolved(path, order, order.changes))))


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


def flops(recipe: Recipe, folder: RunFolder | None = None) -> float:
    """Of an image in training. Where there is no run yet, of a tokenizer with as many tokens as it may have."""
    source, _ = training.sources(recipe)
    tokenizer = (
        training.kept_tokenizer(folder) if folder else training.learnt_tokenizer(recipe, source, lambda said: None)
    )
    family = families.build(recipe.model.family, recipe.model.config, tokenizer)
    return cost.of_training(family, recipe, source)


def examination(entry: Entry, order: Order) -> Path:
    """Where its pictures and answers go."""
    return order.out / f"{entry.name}-examination"
