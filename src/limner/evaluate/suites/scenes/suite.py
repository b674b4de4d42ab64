"""The suite `scenes`: whether a model draws what captions of scenes ask, seen in training, unseen, and beyond it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from limner.core import unparse
from limner.data.people.preview import sheet
from limner.evaluate.features import Extractor
from limner.evaluate.intervals import difference_of_independent
from limner.evaluate.report import Report, Section
from limner.evaluate.suites.measures import REAL
from limner.evaluate.suites.scenes import baselines
from limner.evaluate.suites.scenes.accuracy import Accuracies, Accuracy, percent
from limner.evaluate.suites.scenes.answers import answers
from limner.evaluate.suites.scenes.cells import TILE, baseline, points, tile, title
from limner.evaluate.suites.scenes.ledger import About, Ledger, Outcome
from limner.evaluate.suites.scenes.measured import numbers
from limner.evaluate.suites.scenes.tasks import SPLITS, TASKS, Item, examination, items
from limner.pipeline import Pipeline
from limner.store.files import locked

SWEEPS: Mapping[str, tuple[float, ...]] = {"guidance": (1.0, 2.0, 4.0, 8.0), "steps": (4, 8, 16, 32)}
SWEPT = ("single", "two", "colour")  # the tasks, of captions of seen combinations
SWEEP_SHARE = 25  # one in so many of the captions of a task
SWEPT_SHOWN = 2  # of each of these tasks
SHOWN, EXTREMES = 24, 12  # pictures at random, and of the best and of the worst


def about(pipeline: Pipeline, *, count: int, seed: int, knobs: Mapping[str, Any]) -> About:
    from limner import families

    return About(
        model=pipeline.name, hash=pipeline.hash, family=families.name_of(pipeline.family),
        knobs=unparse(pipeline.knobs(knobs)), count=count, seed=seed,
    )  # fmt: skip


def sweeps(pipeline: Pipeline, *, count: int, seed: int) -> list[Item]:
    """The items of the sweeps over the knobs that the model has."""
    few = max(2, count // SWEEP_SHARE)
    fields = {field.name for field in dataclasses.fields(pipeline.family.Knobs)}
    return [
        replace(item, knobs={knob: value})
        for knob, values in SWEEPS.items()
        if knob in fields
        for value in values
        for task in SWEPT
        for item in items(task, SPLITS[0], few, seed=seed)
    ]


def run(
    model: Path | str,
    folder: Path,
    *,
    count: int = 100,
    seed: int = 0,
    knobs: Mapping[str, Any] | None = None,
    sweeping: bool = True,
    processes: int | None = None,
    begin: Callable[[int, int], object] = lambda done, total: None,
    advance: Callable[[], object] = lambda: None,
) -> Ledger:
    """Draw and read all that `folder` does not have yet; `begin(done, total)` and `advance()` tell how far it is."""
    pipeline = Pipeline.from_pretrained(model)
    ledger = Ledger.open(folder, about(pipeline, count=count, seed=seed, knobs=knobs or {}))
    wanted = examination(count, seed=seed) + (sweeps(pipeline, count=count, seed=seed) if sweeping else [])
    undone = ledger.undone(wanted)
    with locked(folder, "examination"):
        begin(len(wanted) - len(undone), len(wanted))
        for answer in answers(model, undone, knobs=knobs, processes=processes):
            ledger.add(answer)
            advance()
    return ledger


# ---------------------------------------------------------------------------------------------------
# What is made of it.


def report(ledger: Ledger, extractors: Sequence[Extractor] = ()) -> Report:
    """`extractors` beside our own, which needs no file."""
    outcomes, note = ledger.usual(), ledger.about
    shares = {split: Accuracies.of(outcomes, split) for split in SPLITS}
    measured = numbers({note.model: ledger}, extractors)
    sweeps = [section for knob in SWEEPS for section in _sweep(ledger, knob)]
    knobs = ", ".join(f"{name} {value}" for name, value in note.knobs.items())
    return Report(
        title=f"{note.model} on the scenes",
        lead=f"A `{note.family}` model, weights {note.hash[:12]}, {note.count} captions of each task from seed "
        f"{note.seed} on, drawn with {knobs or 'no knobs'}. Intervals are of 95 %.",
        sections=[_accuracy(shares), *measured.sections(), *_galleries(ledger, outcomes), *sweeps],
        data={
            "suite": "scenes", "about": unparse(note),
            "accuracy": {split: found.to_json() for split, found in shares.items()},
            "baselines": {
                task: {split: {name: baselines.tally(task, split, name).to_json() for name in baselines.BASELINES}
                       for split in SPLITS} for task in TASKS
            },
            "fidelity": [
                {"model": score.to_json(), "real": real.to_json()}
                for one in measured.likeness for score, real in zip(one.of(note.model), one.of(REAL), strict=True)
            ],
            "alignment": [found for one in measured.alignment for found in one.to_json()],
            "sweeps": {knob: [
                {"value": value, **Accuracy.of(knob, found).to_json()} for value, found in _swept(ledger, knob).items()
            ] for knob in SWEEPS},
        },
    )  # fmt: skip


def _accuracy(shares: Mapping[str, Accuracies]) -> Section:
    seen, unseen = (shares[split].rows() for split in SPLITS)
    rows = []
    for task, score in seen.items():
        low, high = difference_of_independent(score.value, score.interval, unseen[task].value, unseen[task].interval)
        gap = points(score.value - unseen[task].value, (low, high))
        rows.append([title(task), str(score.n), percent(score), percent(unseen[task]), gap, *baseline(task, SPLITS)])
    columns = ["% right", "n of each", "seen", "unseen", "seen less unseen", *baselines.BASELINES.values()]
    text = (
        "*seen*: fresh scenes whose combinations occur in training; *unseen*: scenes with a combination that never "
        "does. The last four columns are no models: they say what the scorer makes of real pictures, what comes of "
        "ignoring the caption, and what looking up the training captions would give."
    )
    return Section("What was asked, and drawn", text, columns, rows)


def _galleries(ledger: Ledger, outcomes: Sequence[Outcome]) -> Iterator[Section]:
    shown_at_random = [outcomes[place * len(outcomes) // SHOWN] for place in range(min(SHOWN, len(outcomes)))]
    ranked = sorted((one for one in outcomes if one.task not in ("background", "longer")), key=lambda one: -one.fit)
    right, wrong = ([one for one in ranked if one.right is answer] for answer in (True, False))
    shown = {
        "At random": ("As many of each task.", shown_at_random),
        "The best": ("Right, and explained best by the artwork that was asked for.", right[:EXTREMES]),
        "The worst": ("Wrong, and explained least by it.", wrong[-EXTREMES:]),
    }
    for heading, (text, chosen) in shown.items():
        if chosen:
            tiles = [(tile(ledger.picture(one)), f"{'✓' if one.right else '✗'} {one.caption}") for one in chosen]
            yield Section(heading, text, pictures={f"{heading}, of all tasks": sheet(tiles, TILE)})


def _sweep(ledger: Ledger, knob: str) -> Iterator[Section]:
    groups = _swept(ledger, knob)
    if not groups:
        return
    first, *_ = groups.values()
    rows = [[f"{value:g}", str(len(found)), percent(Accuracy.of(knob, found))] for value, found in groups.items()]
    shown = [place for task in SWEPT for place in _places(first, task)[:SWEPT_SHOWN]]
    tiles = [
        (tile(ledger.picture(found[place])), f"{knob} {value:g}: {found[place].caption}")
        for place in shown
        for value, found in groups.items()
    ]
    text = f"Captions of {', '.join(SWEPT)}, the same for each value; everything else as usual."
    yield Section(
        f"The {knob} sweep",
        text,
        [knob, "n", "% right"],
        rows,
        {f"{knob} from left to right": sheet(tiles, TILE, len(groups))},
    )


def _swept(ledger: Ledger, knob: str) -> dict[float, list[Outcome]]:
    """By value, in the order of the captions."""
    swept = sorted((one for one in ledger.outcomes.values() if knob in one.knobs), key=lambda one: one.key)
    return {
        value: [one for one in swept if one.knobs[knob] == value]
        for value in sorted({one.knobs[knob] for one in swept})
    }


def _places(outcomes: Sequence[Outcome], task: str) -> list[int]:
    return [place for place, one in enumerate(outcomes) if one.task == task]
