"""Pictures that were planted among the training pictures k times each: which of them can be drawn out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limner.core import InputError, check
from limner.evaluate.features import ExtractorId, Features, comparable, enough
from limner.evaluate.intervals import wilson
from limner.evaluate.metrics.neighbours import nearest
from limner.evaluate.score import spans

CLOSER = 0.5  # a copy is this much nearer than the neighbours are (Carlini et al., 2023, for CIFAR-10)
NEIGHBOURS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Regurgitation:
    """Of `n` canaries that were planted `copies` times each, the share that came back in any of their drawings.

    `interval` is Wilson's of 95 %, a canary being one trial: at nought it says what could still be. `drawings` is
    the least number of pictures that a canary had to come back in.
    """

    copies: int
    value: float
    interval: tuple[float, float]
    n: int
    drawings: int
    extractor: ExtractorId
    seeds: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": "regurgitation", "copies": self.copies, "value": self.value, "interval95": list(self.interval),
            "n": self.n, "drawings": self.drawings, "seeds": spans(self.seeds), "extractor": self.extractor.name,
            "extractor_hash": self.extractor.hash, "resize": self.extractor.resize,
        }  # fmt: skip


def regurgitation(
    generated: Features, planted: Features, train: Features, *, copies: Sequence[int]
) -> dict[int, Regurgitation]:
    """The share of canaries that came back, for each number of copies.

    `planted` has a row and a prompt of its own for each canary, `copies` how often each was planted (0 for some that
    were not: they tell how often this measure errs), `generated` the drawings of these prompts, `train` the
    training pictures without the canaries. A drawing is a copy if it is nearer to its canary than half its mean
    distance from the 50 training pictures nearest to it. InputError for fewer, or a canary without a drawing.
    """
    comparable("regurgitation", generated, planted, train)
    enough("regurgitation", train, NEIGHBOURS)
    check(len(copies) == len(planted), f"there are {len(copies)} counts of copies for {len(planted)} canaries")
    check(len(set(planted.prompts)) == len(planted), "regurgitation: two canaries have one prompt; give each its own")
    groups = generated.groups
    if lost := sorted(set(planted.prompts) - groups.keys()):
        raise InputError(f"regurgitation: no picture was drawn for the canary {lost[0]!r}; draw each one's prompt")
    back = _back(generated.double, planted, train.double, groups)
    found = {}
    for times in sorted(set(copies)):
        of = [row for row, count in enumerate(copies) if count == times]
        came = sum(back[row] for row in of)
        found[times] = Regurgitation(
            copies=times, value=came / len(of), interval=wilson(came, len(of)), n=len(of),
            drawings=min(len(groups[planted.prompts[row]]) for row in of), extractor=generated.extractor,
            seeds=generated.seeds,
        )  # fmt: skip
    return found


def _back(drawn: Tensor, planted: Features, train: Tensor, groups: dict[str, list[int]]) -> list[bool]:
    """For each canary, whether any of its drawings is a copy of it."""
    usual = nearest(drawn, train, NEIGHBOURS).distances.mean(1)
    canaries = planted.double
    found = []
    for row, prompt in enumerate(planted.prompts):
        own = groups[prompt]
        distance = torch.linalg.vector_norm(drawn[own] - canaries[row], dim=1)
        found.append(bool((distance < CLOSER * usual[own]).any()))
    return found
