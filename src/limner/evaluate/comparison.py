"""Families side by side: what each cost, what it draws of what was asked, and which differences are real."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from limner.core import unparse
from limner.data.people.preview import sheet
from limner.data.scenes import Scenes
from limner.evaluate.features import Extractor
from limner.evaluate.report import Report, Section
from limner.evaluate.suites.scenes.accuracy import OVERALL, Accuracies, percent
from limner.evaluate.suites.scenes.baselines import BASELINES
from limner.evaluate.suites.scenes.cells import TILE, baseline, points, tile, title
from limner.evaluate.suites.scenes.ledger import Ledger
from limner.evaluate.suites.scenes.measured import numbers
from limner.evaluate.suites.scenes.tasks import SPLITS, TASKS, Item, examination

SHOWN = ("single", "two", "colour", "position", "count", "background")  # tasks of which pictures are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """`images` and `seconds` are those of training, `memory` its peak in bytes; `flops` are of one image or picture."""

    parameters: int
    pixels: int
    images: int
    seconds: float
    memory: int
    training_flops: float
    drawing_flops: float
    drawing_seconds: float


@dataclass(frozen=True, slots=True)
class Contestant:
    name: str
    family: str
    cost: Cost
    ledger: Ledger


def compare(contestants: Sequence[Contestant], *, setting: str, extractors: Sequence[Extractor] = ()) -> Report:
    """`setting` says in words what each was given."""
    shares = {one.name: {split: Accuracies.of(one.ledger.usual(), split) for split in SPLITS} for one in contestants}
    ranked = sorted(contestants, key=lambda one: -shares[one.name][SPLITS[0]].overall.value)
    measured = numbers({one.name: one.ledger for one in ranked}, extractors)
    note = ranked[0].ledger.about
    return Report(
        title="Families side by side",
        lead=f"{setting} All were asked the same {note.count} captions of each task. Intervals are of 95 %.",
        sections=[
            _costs(ranked),
            *(_drawn(ranked, shares, split) for split in SPLITS),
            _differences(ranked, shares),
            *measured.sections(),
            *_pictures(ranked),
        ],
        data={
            "setting": setting,
            "contestants": [
                {"name": one.name, "family": one.family, "cost": unparse(one.cost), "about": unparse(one.ledger.about),
                 "accuracy": [share for split in SPLITS for share in shares[one.name][split].to_json()],
                 "fidelity": [score.to_json() for by in measured.likeness for score in by.of(one.name)],
                 "alignment": [score.to_json() for by in measured.alignment for score in by.of(one.name)]}
                for one in ranked
            ],
            "differences": [
                {"of": one.name, "less": other.name,
                 **shares[one.name][split].overall.less(shares[other.name][split].overall).to_json()}
                for one, other in itertools.combinations(ranked, 2) for split in SPLITS
            ],
        },
    )  # fmt: skip


Shares = Mapping[str, Mapping[str, Accuracies]]  # by contestant and split


def _costs(contestants: Sequence[Contestant]) -> Section:
    columns = ["", "family", "pixels", "weights", "images seen", "minutes", "images/s", "GFLOP an image, training",
               "PFLOP in all", "GFLOP a picture", "s a picture", "memory peak"]  # fmt: skip
    rows = [
        [one.name, one.family, f"{cost.pixels}", f"{cost.parameters / 1e6:.2f} M", f"{cost.images:,}",
         f"{cost.seconds / 60:.3g}", f"{cost.images / cost.seconds:.3g}", f"{cost.training_flops / 1e9:.3g}",
         f"{cost.training_flops * cost.images / 1e15:.3g}", f"{cost.drawing_flops / 1e9:.3g}",
         f"{cost.drawing_seconds:.3g}", f"{cost.memory / 2**30:.2f} GiB"]
        for one in contestants for cost in [one.cost]
    ]  # fmt: skip
    return Section("What each cost", "", columns, rows)


def _drawn(contestants: Sequence[Contestant], shares: Shares, split: str) -> Section:
    columns = [f"% right, {split}", *(one.name for one in contestants), *BASELINES.values()]
    tasks = [*TASKS, OVERALL]
    rows = [
        [title(task), *(percent(shares[one.name][split].rows()[task]) for one in contestants), *baseline(task, [split])]
        for task in tasks
    ]
    return Section(f"What was asked and drawn, {split} combinations", "", columns, rows)


def _differences(contestants: Sequence[Contestant], shares: Shares) -> Section:
    columns = ["", *(f"{split}, percent points" for split in SPLITS)]
    rows = []
    for one, other in itertools.combinations(contestants, 2):
        cells = []
        for split in SPLITS:
            found = shares[one.name][split].overall.less(shares[other.name][split].overall)
            cells.append(points(found.value, found.interval) + ("" if found.called else ", no difference"))
        rows.append([f"{one.name} less {other.name}", *cells])
    text = (
        "Of the last row above, paired: both drew the same captions (Newcombe's interval of each task's difference, "
        "Zou and Donner's of their mean). Where the interval holds 0 no difference is called."
    )
    return Section("Which differences are real", text, columns, rows)


def _pictures(contestants: Sequence[Contestant]) -> Iterator[Section]:
    note, scenes = contestants[0].ledger.about, Scenes(SPLITS[0])
    tiles = []
    for item in _firsts(examination(note.count, seed=note.seed)):
        tiles.append((scenes.render(item.truth), item.truth.caption))
        tiles += [(tile(one.ledger.picture(one.ledger.outcome(item))), one.name) for one in contestants]
    below = (
        "A caption a row, the first of its task and split, none chosen; a real picture, then the families, best first"
    )
    yield Section("The same captions side by side", "", pictures={below: sheet(tiles, TILE, 1 + len(contestants))})


def _firsts(items: Sequence[Item]) -> Iterator[Item]:
    for task, split in itertools.product(SHOWN, SPLITS):
        yield from [item for item in items if (item.task, item.split) == (task, split)][:1]
