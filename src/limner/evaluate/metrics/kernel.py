"""Distances of distributions by a kernel's mean over pairs: maximum mean discrepancy (Gretton et al., 2012).

MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y). KID (Binkowski et al., 2018) takes a cubic polynomial and leaves
the pairs of a row with itself out, so that it has no bias; CMMD (Jayasumana et al., 2024) takes a Gaussian
on normalised CLIP embeddings and leaves them in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.evaluate.bootstrap import USUAL, Bootstrap
from limner.evaluate.features import Features, comparable, enough
from limner.evaluate.score import Score, scored

Kernel = Callable[[Tensor], Tensor]
"""Of inner products, which is all that either kernel depends on."""
CHUNK = 1024
SIGMA = 10.0  # of CMMD's Gaussian
SCALE = 1000.0  # CMMD's numbers are read in thousandths


def kernel_inception_distance(
    generated: Features, real: Features, *, subsets: int = 100, subset_size: int = 1000, seed: int = 2020,
    bootstrap: Bootstrap = USUAL,
) -> Score:  # fmt: skip
    """The mean of `subsets` unbiased estimates, each on `subset_size` rows of either side, drawn as by torch-fidelity.

    May be below nought. InputError for fewer pictures than a subset has. The interval is that of the unbiased
    estimate on all rows, about this value.
    """
    comparable("KID", generated, real)
    for one in (generated, real):
        enough("KID", one, max(subset_size, 2), remedy="give more, or a smaller subset_size")
    scale = generated.values.shape[1] ** -0.5
    x, y = generated.double * scale, real.double * scale
    value = float(np.mean([_unbiased(*pair) for pair in _subsets(x, y, subsets, subset_size, seed)]))
    within_real, across = _within(cubic, y), _means(cubic, x, y)
    itself = cubic(x.square().sum(1))

    def statistic(counts: Tensor) -> Tensor:
        total, squares = counts.sum(1), counts.square()
        within = (_quadratic(cubic, x, counts) - squares @ itself) / (total.square() - squares.sum(1))
        return within + within_real - 2 * (counts @ across) / total

    return scored("KID", statistic, generated, bootstrap=bootstrap, value=value, reference=len(real))


def cmmd(generated: Features, real: Features, *, bootstrap: Bootstrap = USUAL) -> Score:
    """Of any embeddings, which are normalised here; the published numbers are of CLIP ViT-L/14 at 336 pixels.

    The floor is exact: the pairs of a row with itself, all alike, are 1/n and 1/m of the pairs.
    """
    comparable("CMMD", generated, real)
    for one in (generated, real):
        enough("CMMD", one, 2)
    x, y = F.normalize(generated.double, dim=1), F.normalize(real.double, dim=1)
    within_real, across = float(_means(gaussian, y, y).mean()), _means(gaussian, x, y)

    def statistic(counts: Tensor) -> Tensor:
        total = counts.sum(1)
        within = _quadratic(gaussian, x, counts) / total.square()
        return SCALE * (within + within_real - 2 * (counts @ across) / total)

    floor = SCALE * (1 / len(x) + 1 / len(y)) * (1 - _within(gaussian, y))
    return scored("CMMD", statistic, generated, bootstrap=bootstrap, reference=len(real), floor=floor)


def cubic(inner: Tensor) -> Tensor:
    """(x.y / D + 1)^3, of products in which 1 / D is already."""
    return (inner + 1) ** 3


def gaussian(inner: Tensor) -> Tensor:
    """exp(-|x - y|^2 / 2 sigma^2), of rows of length 1: |x - y|^2 = 2 - 2 x.y."""
    return torch.exp((inner - 1) / SIGMA**2)


# ---------------------------------------------------------------------------------------------------
# Sums over pairs, some rows at a time: all pairs at once would not fit for tens of thousands.


def _subsets(x: Tensor, y: Tensor, subsets: int, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    random = np.random.RandomState(seed)
    for _ in range(subsets):
        yield x[random.choice(len(x), size, replace=False)], y[random.choice(len(y), size, replace=False)]


def _unbiased(x: Tensor, y: Tensor) -> float:
    return _within(cubic, x) + _within(cubic, y) - 2 * float(_means(cubic, x, y).mean())


def _within(kernel: Kernel, x: Tensor) -> float:
    """The mean over all pairs of different rows."""
    every = torch.ones(1, len(x), dtype=x.dtype)
    pairs = _quadratic(kernel, x, every)[0] - kernel(x.square().sum(1)).sum()
    return float(pairs) / (len(x) * (len(x) - 1))


def _quadratic(kernel: Kernel, x: Tensor, counts: Tensor) -> Tensor:
    """(B,): the sum of c_i c_j k(x_i, x_j)."""
    total = torch.zeros(len(counts), dtype=x.dtype)
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        total += ((counts[:, rows] @ kernel(x[rows] @ x.T)) * counts).sum(1)
    return total


def _means(kernel: Kernel, x: Tensor, y: Tensor) -> Tensor:
    """(N,): the mean of each row's kernel over `y`."""
    return torch.cat([kernel(rows @ y.T).mean(1) for rows in x.split(CHUNK)])
