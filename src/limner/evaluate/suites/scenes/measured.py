"""How near the pictures of examinations of scenes are to real ones, beside real pictures of the same captions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from limner.data.scenes import Scenes
from limner.evaluate.bootstrap import USUAL
from limner.evaluate.features import Extractor, Features, extract
from limner.evaluate.score import Score
from limner.evaluate.suites.ledger import Ledger
from limner.evaluate.suites.measures import diversity, fidelity
from limner.evaluate.suites.real import signed
from limner.evaluate.suites.tasks import SPLITS, examination


@dataclass(frozen=True, slots=True)
class Likeness:
    """By one extractor: the same metrics in the same order for each examination, and for `real` pictures."""

    examined: Sequence[Sequence[Score]]
    real: Sequence[Score]

    def rows(self) -> list[list[str]]:
        """Metric, each examination's, the real pictures', the noise floor, n, extractor."""
        rows = []
        for real, *drawn in zip(self.real, *self.examined, strict=True):
            floor = "" if real.floor is None else f"{real.floor:.4g}"
            rows.append([real.metric, *map(number, drawn), number(real), floor, str(real.n), str(real.extractor)])
        return rows


def columns(names: Sequence[str]) -> list[str]:
    return ["", *names, "real pictures", "noise floor", "n", "extractor"]


def likeness(ledgers: Sequence[Ledger], extractors: Sequence[Extractor]) -> Iterator[Likeness]:
    """For each extractor, of examinations that asked the same; the reference is as many scenes of the next seed."""
    note, scenes = ledgers[0].about, Scenes(SPLITS[0])
    same, others = ([item.truth for item in examination(note.count, seed=seed)] for seed in (note.seed, note.seed + 1))
    for extractor in extractors:
        reference = _seen_by(extractor, map(scenes.render, others), [truth.caption for truth in others])
        real = _seen_by(extractor, map(scenes.render, same), [truth.caption for truth in same])
        drawn = (_of(extractor, ledger) for ledger in ledgers)
        yield Likeness([_measured(one, reference) for one in drawn], _measured(real, reference))


def number(score: Score) -> str:
    low, high = score.interval
    return f"{score.value:.4g} ({low:.4g} to {high:.4g})"


def _of(extractor: Extractor, ledger: Ledger) -> Features:
    outcomes = ledger.usual()
    captions, seeds = [one.caption for one in outcomes], [one.seed for one in outcomes]
    return _seen_by(extractor, map(ledger.picture, outcomes), captions, seeds)


def _seen_by(
    extractor: Extractor, pictures: Iterable[Image.Image], captions: Sequence[str], seeds: Sequence[int] = ()
) -> Features:
    tensors = (signed(torch.from_numpy(np.array(picture)).permute(2, 0, 1)) for picture in pictures)
    return extract(extractor, tensors, prompts=captions, seeds=seeds)


def _measured(found: Features, reference: Features) -> list[Score]:
    cells = [*fidelity(reference, USUAL)(found), *diversity(USUAL)(found)]
    return [cell for cell in cells if isinstance(cell, Score)]
