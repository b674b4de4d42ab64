"""What a Frechet distance is between two finite samples of one distribution: its noise floor, in closed form.

To first order in 1/n, with l the eigenvalues of the covariance and x the features in its axes (n and m pictures),

    E = (1/n + 1/m) (sum_i l_i + C),    C = sum_ij (E[x_i^2 x_j^2] - d_ij l_i^2) / (2 (l_i + l_j)):

the means' share, and the covariances', which is the Bures metric's second order over the variance of their
entries. Of Gaussian features C is J / 2 + sum_i l_i / 4 with J = sum_ij l_i l_j / (l_i + l_j); others' are larger, by
up to twice and more, and that ratio, the *excess*, is taken from the sample. J itself must not be: a sample's
eigenvalues are spread out by its noise, and at two pictures a dimension J comes out a fifth too small. With the
population's h(z) = sum_i l_i / (l_i + z), J is the integral of |h(is)|^2 / pi over s > 0 (Parseval), and the
sample's h tells the population's (Marchenko and Pastur, 1967; Silverstein, 1995):

    h(k) = h_sample(z)    where    z = k (1 - h(k) / (m - 1)).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

GRID = 200
ROUNDS = 200
CONVERGED = 1e-6
UNSEEN = 0.05  # the most of J that may lie at scales which the sample is too small to show
SECOND_ORDER = 0.3  # the most of J that may lie where the features have more dimensions than there are pictures


def noise_floor(axes: Tensor, n: int) -> float | None:
    """The expected distance of `n` pictures from the reference, if both are of one distribution.

    `axes` (M, R) has the reference's rows about their mean, along the R axes of their covariance that are not null.
    None where there are too few pictures, for so many dimensions, to tell.
    """
    m = len(axes)
    if not axes.shape[1]:
        return 0.0
    eigenvalues = axes.square().sum(0) / (m - 1)
    pairs = _pairs(eigenvalues, n, m)
    if pairs is None:
        return None
    gaussian = pairs / 2 + eigenvalues.sum() / 4
    return float((1 / n + 1 / m) * (eigenvalues.sum() + _excess(axes, eigenvalues) * gaussian))


def _excess(axes: Tensor, eigenvalues: Tensor) -> Tensor:
    """C of the sample over what C would be, were it Gaussian with the same eigenvalues."""
    squares = axes.square()
    fourth = squares.T @ squares / len(axes)
    weight = 1 / (2 * (eigenvalues[:, None] + eigenvalues))
    found = (weight * (fourth - torch.diag(eigenvalues.square()))).sum()
    return found / ((weight * eigenvalues[:, None] * eigenvalues).sum() + eigenvalues.sum() / 4)


def _pairs(eigenvalues: Tensor, n: int, m: int) -> Tensor | None:
    """J of the population; None where the sample of `m` does not show it, or n or m is too few for first order."""
    s, h, unseen = _population(eigenvalues, m)
    density = h.abs().square() * s  # over log s
    total = torch.trapezoid(density, s.log())
    head, tail = density[0], density[-1]  # below the grid h is even, above it falls as 1 / s
    crowded = (density * (h.abs() > min(n, m))).sum() / density.sum()
    if (unseen and head > UNSEEN * total) or crowded > SECOND_ORDER:
        return None
    return (total + head + tail) / math.pi


def _population(eigenvalues: Tensor, m: int) -> tuple[Tensor, Tensor, bool]:
    """Points s, h(is) of the population at them, and whether smaller s could not be reached from the sample."""
    s = torch.logspace(-6, 3, GRID, dtype=torch.float64) * eigenvalues.max()
    z = 1j * s
    for _ in range(ROUNDS):
        h = (eigenvalues / (eigenvalues + z[:, None])).sum(1)
        old, z = z, (z + 1j * s * (1 - h / (m - 1))) / 2
        moves = (z - old).abs() > CONVERGED * z.abs()
        if not moves.any():
            break
    lost = moves.nonzero()
    first = int(lost.max()) + 1 if len(lost) else 0
    return s[first:], h[first:], first > 0
