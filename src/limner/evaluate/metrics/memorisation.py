"""Whether pictures are drawn or remembered: by how near they come to those that the model was trained on."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from limner.core import check
from limner.evaluate.bootstrap import USUAL, Bootstrap
from limner.evaluate.features import Features, comparable, enough
from limner.evaluate.metrics.cells import Cells
from limner.evaluate.metrics.neighbours import Neighbours, nearest, nearest_others
from limner.evaluate.score import Score, averaged, scored, share

CELLS = 3  # in which C_T compares like with like, and the least generated pictures that one needs
FEWEST = 20


def nearest_training(generated: Features, train: Features, *, k: int = 1) -> Neighbours:
    """The `k` training pictures nearest to each picture, and how far they are: to be looked at."""
    comparable("nearest training picture", generated, train)
    enough("nearest training picture", train, k)
    return nearest(generated.double, train.double, k)


def nearest_ratio(generated: Features, train: Features, *, bootstrap: Bootstrap = USUAL) -> Score:
    """The distance of the nearest training picture over that of the second, on average: near 0 means copies.

    A training set with duplicates hides its copies from this: their second is as near as their first.
    """
    distances = nearest_training(generated, train, k=2).distances
    ratio = torch.where(distances[:, 1] > 0, distances[:, 0] / distances[:, 1], 1.0)
    return averaged("nearest training ratio", ratio, generated, bootstrap=bootstrap, reference=len(train))


def authenticity(generated: Features, train: Features, *, bootstrap: Bootstrap = USUAL) -> Score:
    """The share of pictures that are further from their nearest training picture than this from its own (Alaa, 2022).

    AuthPct is 100 times this. Fresh pictures of the training
    distribution have 1/3 (features of one dimension) to 1/2 (of many): they are nearest to each other as often as not.
    """
    comparable("authenticity", generated, train)
    enough("authenticity", train, 2)
    found = nearest(generated.double, train.double)
    authentic = found.distances[:, 0] > _alone(train)[found.places[:, 0]]
    return share("authenticity", authentic, generated, bootstrap=bootstrap, reference=len(train))


def data_copying(
    generated: Features, train: Features, held_out: Features, *, seed: int = 0, bootstrap: Bootstrap = USUAL
) -> Score:
    """C_T (Meehan et al., 2020): are pictures nearer to the training set than pictures which it never saw?

    In each of 3 cells (k-means of the 64 first principal components of the training features) Mann and Whitney's U of
    the generated pictures' and the held-out ones' distances, as a z-score; their mean, weighted by the cells' share
    of the held-out pictures. Nought is as it should be; below -3 the model copies, far above it underfits.
    Cells with fewer than 20 generated pictures, or none held out, are left out; InputError if no cell is left.
    """
    comparable("C_T", generated, train, held_out)
    enough("C_T", train, CELLS)
    cells = _cells(train, seed)
    parts = [part for cell in range(CELLS) if (part := _Cell.of(cells, cell, generated, held_out)) is not None]
    check(bool(parts), f"C_T needs {FEWEST} generated pictures and a held-out one in some cell; give more")
    weights = torch.tensor([part.held_out for part in parts], dtype=torch.float64)

    def statistic(counts: Tensor) -> Tensor:
        z = torch.stack([part.z(counts) for part in parts], dim=1)
        return z @ (weights / weights.sum())

    return scored("C_T", statistic, generated, bootstrap=bootstrap, reference=len(train))


@lru_cache(maxsize=2)
def _alone(train: Features) -> Tensor:
    """(M,): how far each row's nearest other row is. Kept, since several models are held against one training set."""
    return nearest_others(train.double).distances[:, 0]


@lru_cache(maxsize=2)
def _cells(train: Features, seed: int) -> Cells:
    return Cells(train.double, CELLS, seed=seed)


class _Cell:
    """The generated pictures of one cell: `rows`, and the share of held-out ones that each is further than."""

    def __init__(self, rows: Tensor, further: Tensor, held_out: int) -> None:
        self.rows, self.further, self.held_out = rows, further, held_out

    @staticmethod
    def of(cells: Cells, cell: int, generated: Features, held_out: Features) -> _Cell | None:
        base = cells.train[cells.of_train == cell]
        drawn, unseen = cells.project(generated.double), cells.project(held_out.double)
        rows = (cells.assign(drawn) == cell).nonzero()[:, 0]
        beside = unseen[cells.assign(unseen) == cell]
        if len(rows) < FEWEST or not len(beside) or not len(base):
            return None
        far = nearest(drawn[rows], base).distances
        usual = nearest(beside, base).distances[:, 0]
        further = (far > usual).double().mean(1) + (far == usual).double().mean(1) / 2
        return _Cell(rows, further, len(beside))

    def z(self, counts: Tensor) -> Tensor:
        """(B,): U less its mean n m / 2, over its standard deviation, if nothing were copied."""
        times = counts[:, self.rows]
        n, m = self.held_out, times.sum(1)
        excess = n * (times @ (self.further - 0.5))
        return excess / (n * m * (n + m + 1) / 12).sqrt().clamp_min(1e-12)
