"""What metrics say of examinations, beside real pictures: how near to real ones, and how near to their words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from limner.data.scenes import Scenes
from limner.evaluate.bootstrap import USUAL
from limner.evaluate.extractors import DualEncoder, RandomNetwork, of_image
from limner.evaluate.features import Extractor, Features, extract_all
from limner.evaluate.report import Section
from limner.evaluate.score import Score
from limner.evaluate.suites.measures import OTHER, REAL, Measure, alignment, diversity, embedded_fidelity, fidelity
from limner.evaluate.suites.scenes.ledger import Ledger
from limner.evaluate.suites.scenes.tasks import SPLITS, examination


@dataclass(frozen=True, slots=True)
class Measured:
    """By one extractor: the same metrics in the same order for each of `columns`, the examinations first."""

    columns: Mapping[str, Sequence[Score]]

    def of(self, name: str) -> Sequence[Score]:
        return self.columns[name]

    def to_json(self) -> list[dict[str, Any]]:
        """By metric, what each of the columns has."""
        return [
            {name: score.to_json() for name, score in zip(self.columns, scores, strict=True)}
            for scores in zip(*self.columns.values(), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Numbers:
    """`likeness` by each extractor; `alignment` by each that reads words."""

    likeness: Sequence[Measured]
    alignment: Sequence[Measured]

    def sections(self) -> list[Section]:
        near = Section(
            "How near to real pictures",
            "Pictures of all tasks against as many real ones of other captions. How to read each metric is in "
            "docs/metrics.md.",
            *_table(self.likeness),
        )
        if not self.alignment:
            return [near]
        heard = Section(
            "How near to their words, by a CLIP",
            "Of all tasks together. R-precision is how often a picture's own caption is the nearest among 100. The "
            "last columns are no models: they say what this CLIP makes of real pictures, of their own caption and of "
            "another.",
            *_table(self.alignment),
        )
        return [near, heard]


def numbers(ledgers: Mapping[str, Ledger], extractors: Sequence[Extractor] = ()) -> Numbers:
    """Of examinations by their names, which asked the same; `extractors` beside our own, which needs no file.

    The reference is as many scenes of the next seed.
    """
    all_of_them = [RandomNetwork(), *extractors]
    views = _views(ledgers, all_of_them)
    near, heard = [], []
    for extractor, (examined, real, reference) in zip(all_of_them, views, strict=True):
        measures = [fidelity(reference, USUAL), diversity(USUAL)]
        if isinstance(extractor, DualEncoder):
            measures.append(embedded_fidelity(reference, USUAL))
            heeded, other = [alignment(extractor.texts(real.prompts), USUAL)], reference.said(real.prompts)
            heard.append(_measured({**examined, REAL: real, OTHER: other}, heeded))
        near.append(_measured({**examined, REAL: real}, measures))
    return Numbers(near, heard)


def written(score: Score) -> str:
    low, high = score.interval
    return f"{score.value:.4g} ({low:.4g} to {high:.4g})"


# ---------------------------------------------------------------------------------------------------
# Features.

View = tuple[Mapping[str, Features], Features, Features]
"""Of one extractor: the examinations', those of real pictures of the same captions, and the reference's."""


def _views(ledgers: Mapping[str, Ledger], extractors: Sequence[Extractor]) -> list[View]:
    note, scenes = next(iter(ledgers.values())).about, Scenes(SPLITS[0])
    rendered = []
    for seed in (note.seed, note.seed + 1):
        truths = [item.truth for item in examination(note.count, seed=seed)]
        rendered.append(_seen(extractors, map(scenes.render, truths), [truth.caption for truth in truths]))
    drawn = {name: _of(ledger, extractors) for name, ledger in ledgers.items()}
    return [
        ({name: found[place] for name, found in drawn.items()}, rendered[0][place], rendered[1][place])
        for place in range(len(extractors))
    ]


def _of(ledger: Ledger, extractors: Sequence[Extractor]) -> list[Features]:
    outcomes = ledger.usual()
    captions, seeds = [one.caption for one in outcomes], [one.seed for one in outcomes]
    return _seen(extractors, map(ledger.picture, outcomes), captions, seeds)


def _seen(
    extractors: Sequence[Extractor], pictures: Iterable[Image.Image], captions: Sequence[str], seeds: Sequence[int] = ()
) -> list[Features]:
    return extract_all(extractors, map(of_image, pictures), prompts=captions, seeds=seeds)


# ---------------------------------------------------------------------------------------------------
# Scores, and their table.


def _measured(columns: Mapping[str, Features], measures: Sequence[Measure]) -> Measured:
    return Measured({
        name: [cell for measure in measures for cell in measure(found) if isinstance(cell, Score)]
        for name, found in columns.items()
    })  # fmt: skip


def _table(several: Sequence[Measured]) -> tuple[list[str], list[list[str]]]:
    """Metric, each column's, the noise floor where there is one, n, extractor."""
    rows, floors = [], any(score.floor is not None for one in several for score in one.of(REAL))
    for one in several:
        for place, real in enumerate(one.of(REAL)):
            floor = ["" if real.floor is None else f"{real.floor:.4g}"] * floors
            cells = [written(scores[place]) for scores in one.columns.values()]
            rows.append([real.metric, *cells, *floor, str(real.n), str(real.extractor)])
    return ["", *several[0].columns, *["noise floor"] * floors, "n", "extractor"], rows
