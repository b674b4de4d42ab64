"""Precision and recall (Kynkaanniemi et al., 2019), density and coverage (Naeem et al., 2020).

A set of features is taken as the union of balls about its rows, each as wide as its k-th nearest neighbour is far.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limner.core import check
from limner.evaluate.bootstrap import USUAL, Bootstrap
from limner.evaluate.features import Features, comparable, enough
from limner.evaluate.metrics.neighbours import chunks, nearest_others
from limner.evaluate.score import POSITIVE, SHARE, Score, averaged, scored, share


@dataclass(frozen=True, slots=True)
class Manifold:
    """Of the generated pictures, how many are like real ones; of the real ones, how many are like generated ones."""

    precision: Score
    recall: Score
    density: Score
    coverage: Score


def manifold(generated: Features, real: Features, *, k: int = 5, bootstrap: Bootstrap = USUAL) -> Manifold:
    """All four, of `k` neighbours: 5 as `prdc` has it, 3 as in the paper of precision and recall.

    Two samples of one distribution, equally many, have a coverage of 1 - 2^-k and a density of 1. InputError for
    k or fewer pictures on either side.
    """
    check(k >= 1, f"k = {k}: there is 1 neighbour or more")
    comparable("precision and recall", generated, real)
    for one in (generated, real):
        enough("precision and recall", one, k + 1, remedy="give more, or a smaller k")
    balls, among = _Balls(real.double, generated.double, k), len(real)

    def reached(name: str, inside: Tensor) -> Score:
        return scored(
            name, lambda counts: _reached(inside, counts), generated, bootstrap=bootstrap, reference=among, bounds=SHARE
        )

    return Manifold(
        precision=share("precision", balls.around > 0, generated, bootstrap=bootstrap, reference=among),
        recall=reached("recall", balls.in_generated),
        density=averaged("density", balls.around / k, generated, bootstrap=bootstrap, reference=among, bounds=POSITIVE),
        coverage=reached("coverage", balls.in_real),
    )


class _Balls:
    """Which real row (M) and which generated one (N) lie in whose ball: `in_generated` and `in_real` are (M, N) bool.

    `around` (N,) counts the real balls that each generated row lies in.
    """

    def __init__(self, real: Tensor, generated: Tensor, k: int) -> None:
        radii = [nearest_others(rows, k).distances[:, -1] for rows in (real, generated)]
        self.in_real = torch.empty(len(real), len(generated), dtype=torch.bool)
        self.in_generated = torch.empty_like(self.in_real)
        for part, distances in chunks(real, generated):
            self.in_real[part] = distances <= radii[0][part, None]
            self.in_generated[part] = distances <= radii[1]
        self.around = self.in_real.sum(0).double()


def _reached(inside: Tensor, counts: Tensor) -> Tensor:
    """(B,): the share of real rows that a generated row which is there at all has to do with."""
    there = (counts > 0).float().T
    hits = [(part.float() @ there > 0).double().sum(0) for part in inside.split(1024)]
    return torch.stack(hits).sum(0) / len(inside)
