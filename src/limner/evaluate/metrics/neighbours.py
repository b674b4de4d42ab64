"""Distances between rows of features, some rows at a time, and the nearest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The nearest rows of a base, nearest first: `distances` (N, k) and their `places` (N, k) in it."""

    distances: Tensor
    places: Tensor


def nearest(queries: Tensor, base: Tensor, k: int = 1) -> Neighbours:
    """(N, D) and (M, D), M >= k."""
    found = [distances.topk(k, largest=False) for _, distances in chunks(queries, base)]
    return Neighbours(torch.cat([one.values for one in found]), torch.cat([one.indices for one in found]))


def nearest_others(rows: Tensor, k: int = 1) -> Neighbours:
    """Among the rows themselves, each but itself. A copy of a row is another row, at distance 0."""
    found = []
    for part, distances in chunks(rows, rows):
        distances[torch.arange(len(distances)), torch.arange(len(rows))[part]] = torch.inf
        found.append(distances.topk(k, largest=False))
    return Neighbours(torch.cat([one.values for one in found]), torch.cat([one.indices for one in found]))


def chunks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Euclidean distances (n, M) of some rows of `x` (N, D) after the others from all of `y` (M, D).

    By inner products about the mean of `y`, which is fast; in float64 what cancels is 1e-8 of the rows' own length.
    """
    centre = y.mean(0)
    x, y = x - centre, y - centre
    lengths = y.square().sum(1)
    for start in range(0, len(x), CHUNK):
        part = slice(start, min(start + CHUNK, len(x)))
        squared = x[part].square().sum(1, keepdim=True) + lengths - 2 * x[part] @ y.T
        yield part, squared.clamp_min(0).sqrt()
