"""The Frechet distance of two sets of features, taken as Gaussians (Dowson and Landau, 1982; FID, Heusel et al. 2017).

|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), with covariances over n - 1. With any factor F of S2 = F F' the last
trace is the sum of the roots of the eigenvalues of F' S1 F, which is symmetric: no complex numbers, no
iteration, and nothing to add to a diagonal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limner.evaluate.bootstrap import USUAL, Bootstrap
from limner.evaluate.features import Features, comparable, enough
from limner.evaluate.metrics.floor import noise_floor
from limner.evaluate.score import POSITIVE, Score, scored

NULL = 1e-12  # of the largest eigenvalue: what lies below is rounding


def frechet_distance(generated: Features, real: Features, *, bootstrap: Bootstrap = USUAL) -> Score:
    """Of any features; with Inception's 2048 it is FID. InputError for fewer than 2 pictures on either side.

    Biased upwards at finite n, by about the floor: never compare two at different n.
    """
    comparable("Frechet distance", generated, real)
    for one in (generated, real):
        enough("Frechet distance", one, 2)
    reference = _Reference(real.double)
    drawn = _Drawn(generated.double - reference.mean, reference)
    floor = noise_floor(reference.axes, len(generated))

    def statistic(counts: Tensor) -> Tensor:
        return torch.stack([drawn.distance(times) for times in counts])

    return scored(
        "Frechet distance", statistic, generated, bootstrap=bootstrap, reference=len(real), floor=floor, bounds=POSITIVE
    )


class _Reference:
    """The real pictures' mean (D,), their covariance's factor (D, R), F F' = S2, and rows along its axes (M, R)."""

    def __init__(self, rows: Tensor) -> None:
        self.mean = rows.mean(0)
        centred = rows - self.mean
        values, vectors = torch.linalg.eigh(centred.T @ centred / (len(rows) - 1))
        kept = values > NULL * values[-1]
        self.trace = values[kept].sum()
        self.factor = vectors[:, kept] * values[kept].sqrt()
        self.axes = centred @ vectors[:, kept]


class _Drawn:
    """The generated rows (N, D), from the reference's mean, with all done once that no resample changes."""

    def __init__(self, rows: Tensor, reference: _Reference) -> None:
        self.rows, self.squares = rows, rows.square().sum(1)
        self.projected = rows @ reference.factor  # (N, R)
        self.trace = reference.trace

    def distance(self, counts: Tensor) -> Tensor:
        """With each row as often as `counts` (N,) says; a number."""
        total = counts.sum()
        shift = (counts @ self.rows / total).square().sum()
        trace = (counts @ self.squares - total * shift) / (total - 1)
        return shift + trace + self.trace - 2 * self._overlap(counts[counts > 0], self.projected[counts > 0])

    def _overlap(self, counts: Tensor, rows: Tensor) -> Tensor:
        """tr (S1 S2)^(1/2), by the smaller of the two Gram matrices that have these eigenvalues."""
        total = counts.sum()
        rows = (rows - counts @ rows / total) * (counts / (total - 1)).sqrt()[:, None]
        gram = rows.T @ rows if len(rows) > rows.shape[1] else rows @ rows.T
        return torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().sum()
