"""The metrics of the suite `captions`: by what they ask, for each extractor, of the model and of what it stands beside.

All contenders have one picture for each of the same prompts. So their numbers have the same bias, and their
differences are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limner.core import InputError
from limner.evaluate.bootstrap import Bootstrap
from limner.evaluate.features import ExtractorId, Features
from limner.evaluate.metrics import (
    authenticity,
    clip_score,
    cmmd,
    conditional_error,
    data_copying,
    frechet_distance,
    kernel_inception_distance,
    manifold,
    nearest_ratio,
    pairwise_diversity,
    r_precision,
    vendi,
    vendi_within,
)
from limner.evaluate.score import Difference, Score, difference

MODEL, REAL, OTHER = "the model", "real pictures", "real, another caption"
NEIGHBOURS = 5  # of precision, recall, density and coverage
FEWEST = NEIGHBOURS + 1  # pictures on either side
SUBSET = 1000  # of KID, where there are as many pictures
CANDIDATES = 100  # of R-precision, where there are as many prompts


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no number."""

    metric: str
    extractor: ExtractorId
    why: str

    def to_json(self) -> dict[str, Any]:
        return {"metric": self.metric, "value": None, "why": self.why}


Cell = Score | Missing
Contenders = Mapping[str, Mapping[ExtractorId, Features]]
"""By name, the model first."""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one extractor for each contender, and the model's number less each of the others'."""

    cells: Mapping[str, Cell]
    differences: Mapping[str, Difference]

    @property
    def first(self) -> Cell:
        return next(iter(self.cells.values()))

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.first.metric,
            "extractor": self.first.extractor.name,
            "cells": {name: cell.to_json() for name, cell in self.cells.items()},
            "model_less": {name: one.to_json() for name, one in self.differences.items()},
        }


Measure = Callable[[Features], Iterator[Cell]]
"""A contender's features to its cells: the same metrics in the same order for each."""


def rows(
    contenders: Contenders, extractors: Sequence[ExtractorId], measure: Callable[[ExtractorId], Measure]
) -> list[Row]:
    found = []
    for extractor in extractors:
        columns = {name: list(measure(extractor)(one[extractor])) for name, one in contenders.items()}
        for cells in zip(*columns.values(), strict=True):
            found.append(_row(dict(zip(columns, cells, strict=True))))
    return found


def _row(cells: Mapping[str, Cell]) -> Row:
    [(_, model), *others] = cells.items()
    pairs = {
        name: difference(model, one) for name, one in others if isinstance(model, Score) and isinstance(one, Score)
    }
    return Row(cells, pairs)


# ---------------------------------------------------------------------------------------------------
# What is asked.


def fidelity(reference: Features, bootstrap: Bootstrap) -> Measure:
    """How near to the real pictures of `reference`."""

    def measure(found: Features) -> Iterator[Cell]:
        yield frechet_distance(found, reference, bootstrap=bootstrap)
        size = min(SUBSET, len(found), len(reference))
        yield kernel_inception_distance(found, reference, subset_size=size, bootstrap=bootstrap)
        four = manifold(found, reference, k=NEIGHBOURS, bootstrap=bootstrap)
        yield from (four.precision, four.recall, four.density, four.coverage)

    return measure


def embedded_fidelity(reference: Features, bootstrap: Bootstrap) -> Measure:
    """The same, of a CLIP's embeddings."""
    return lambda found: iter([cmmd(found, reference, bootstrap=bootstrap)])


def alignment(texts: Features, bootstrap: Bootstrap) -> Measure:
    """Whether the pictures go with their prompts, by a CLIP."""

    def measure(found: Features) -> Iterator[Cell]:
        yield clip_score(found, texts, bootstrap=bootstrap)
        yield r_precision(found, texts, candidates=min(CANDIDATES, len(texts)), bootstrap=bootstrap)

    return measure


def mean_error(reference: Features, bootstrap: Bootstrap) -> Measure:
    """How far from the mean of a prompt's real pictures; of those prompts that have two or more."""

    def measure(found: Features) -> Iterator[Cell]:
        several = with_several(reference)
        shown = [row for row, prompt in enumerate(found.prompts) if prompt in several]
        yield conditional_error(found[shown], reference, bootstrap=bootstrap)

    return measure


def with_several(reference: Features) -> set[str]:
    """The prompts of two or more rows."""
    return {prompt for prompt, places in reference.groups.items() if len(places) > 1}


def diversity(bootstrap: Bootstrap) -> Measure:
    return lambda found: iter([vendi(found, bootstrap=bootstrap)])


def diversity_within(bootstrap: Bootstrap) -> Measure:
    """Of features with two or more pictures of each prompt."""

    def measure(found: Features) -> Iterator[Cell]:
        yield pairwise_diversity(found, bootstrap=bootstrap)
        yield vendi_within(found, bootstrap=bootstrap)

    return measure


def memorisation(train: Features, reference: Features, bootstrap: Bootstrap) -> Measure:
    """Whether pictures are nearer to training pictures than they should be."""

    def measure(found: Features) -> Iterator[Cell]:
        yield nearest_ratio(found, train, bootstrap=bootstrap)
        yield authenticity(found, train, bootstrap=bootstrap)
        try:
            yield data_copying(found, train, reference, bootstrap=bootstrap)
        except InputError as error:  # how many pictures a cell has is known only when they are drawn
            yield Missing("C_T", found.extractor, str(error))

    return measure
