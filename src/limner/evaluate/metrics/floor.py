"""What a Frechet distance is between two finite samples of one distribution: its noise floor, in closed form.

To first order in 1/n, for Gaussian features whose covariance has eigenvalues l (n and m pictures),

    E = (1/n + 1/m) (sum_i l_i + sum_i l_i / 4 + J / 2),    J = sum_ij l_i l_j / (l_i + l_j):

the means' share, and that of the covariances, from the Bures metric's second order and the Wishart variances. J
must not be taken from the sample's own eigenvalues, which are spread out by the noise: at n = 2 D it would be a
fifth too small. With the population's h(z) = sum_i l_i / (l_i + z) it is the integral of |h(is)|^2 / pi over s > 0
(Parseval), and the sample's h tells the population's (Marchenko and Pastur, 1967; Silverstein, 1995):

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


def noise_floor(eigenvalues: Tensor, n: int, m: int) -> float | None:
    """The expected distance of `n` pictures from `m`, if both are of one distribution.

    `eigenvalues` (D,) are those of the covariance of the sample of `m`. None where the samples are too small, for
    so many dimensions, for the first order to hold or for the spectrum to be known.
    """
    if not float(eigenvalues.max()) > 0:
        return 0.0
    s, h, unseen = _population(eigenvalues, m)
    density = h.abs().square() * s  # over log s
    total = torch.trapezoid(density, s.log())
    head, tail = density[0], density[-1]  # below the grid h is even, above it falls as 1 / s
    crowded = (density * (h.abs() > min(n, m))).sum() / density.sum()
    if (unseen and head > UNSEEN * total) or crowded > SECOND_ORDER:
        return None
    pairs = (total + head + tail) / math.pi
    return float((1 / n + 1 / m) * (1.25 * eigenvalues.sum() + pairs / 2))


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
