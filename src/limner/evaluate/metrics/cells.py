"""A space of features in a few cells: k-means (Lloyd, 1982; first centres by Arthur and Vassilvitskii, 2007)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

DIMENSIONS = 64
STARTS = 10
ROUNDS = 100


class Cells:
    """Cells of `train` (N, D), in its `DIMENSIONS` first principal components: the best of some starts."""

    def __init__(self, train: Tensor, cells: int, *, seed: int) -> None:
        self._mean = train.mean(0)
        centred = train - self._mean
        self._axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :DIMENSIONS]
        self.train = self.project(train)
        generator = torch.Generator().manual_seed(seed)
        found = [_kmeans(self.train, cells, generator) for _ in range(STARTS)]
        self._centres = min(found, key=lambda centres: _spread(self.train, centres))
        self.of_train = self.assign(self.train)

    def project(self, rows: Tensor) -> Tensor:
        """(N, D) to (N, at most 64)."""
        return (rows - self._mean) @ self._axes

    def assign(self, projected: Tensor) -> Tensor:
        """(N,): the cell of each row."""
        return torch.cdist(projected, self._centres).argmin(1)


def _kmeans(rows: Tensor, cells: int, generator: Generator) -> Tensor:
    centres = _first_centres(rows, cells, generator)
    for _ in range(ROUNDS):
        nearest = torch.cdist(rows, centres).argmin(1)
        moved = torch.stack(
            [rows[nearest == cell].mean(0) if (nearest == cell).any() else centres[cell] for cell in range(cells)]
        )
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def _first_centres(rows: Tensor, cells: int, generator: Generator) -> Tensor:
    """Rows, each drawn by the square of its distance from those before it."""
    centres = rows[torch.randint(len(rows), (1,), generator=generator)]
    while len(centres) < cells:
        squared = torch.cdist(rows, centres).amin(1).square()
        place = torch.multinomial(squared + 1e-300, 1, generator=generator)
        centres = torch.cat([centres, rows[place]])
    return centres


def _spread(rows: Tensor, centres: Tensor) -> float:
    return float(torch.cdist(rows, centres).amin(1).square().sum())
