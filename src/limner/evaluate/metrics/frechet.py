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
from limner.evaluate.score import Score, scored

NULL = 1e-12  # of the largest eigenvalue: what lies below is rounding


def frechet_distance(generated: Features, real: Features, *, bootstrap: Bootstrap = USUAL) -> Score:
    """Of any features; with Inception's 2048 it is FID. InputError for fewer than 2 pictures on either side.

    Biased upwards at finite n, by about the floor: never compare two at different n.
    """
    comparable("Frechet distance", generated, real)
    for one in (generated, real):
        enough("Frechet distance", one, 2)
    reference = Reference(real.double)
    floor = noise_floor(reference.eigenvalues, len(generated), len(real))
    rows = generated.double

    def statistic(counts: Tensor) -> Tensor:
        return torch.stack([reference.distance(rows, times) for times in counts])

    return scored("Frechet distance", statistic, generated, bootstrap=bootstrap, reference=len(real), floor=floor)


class Reference:
    """The real pictures' mean and covariance, decomposed once for all resamples."""

    def __init__(self, rows: Tensor) -> None:
        self.mean = rows.mean(0)
        centred = rows - self.mean
        covariance = centred.T @ centred / (len(rows) - 1)
        values, vectors = torch.linalg.eigh(covariance)
        self.eigenvalues = values.clamp_min(0)
        self.trace = self.eigenvalues.sum()
        kept = values > NULL * values[-1]
        self.factor = vectors[:, kept] * values[kept].sqrt()  # (D, R)

    def distance(self, rows: Tensor, counts: Tensor) -> Tensor:
        """From `rows` (N, D), each as often as `counts` (N,) says; a number."""
        rows, counts = rows[counts > 0], counts[counts > 0]
        total = counts.sum()
        mean = counts @ rows / total
        weighted = (rows - mean) * (counts / (total - 1)).sqrt()[:, None]  # its Gram matrix is the covariance
        across = weighted @ self.factor  # (N, R)
        gram = across.T @ across if across.shape[0] > across.shape[1] else across @ across.T
        overlap = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().sum()
        return (mean - self.mean).square().sum() + weighted.square().sum() + self.trace - 2 * overlap
