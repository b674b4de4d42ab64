"""A distribution as counts in fixed bins, how far it is from another, and how far chance alone would take it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL, DRAWS = 0.999, 4000  # of what chance does: who looks every day wants no alarm of it


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of a prompt or a picture. `edges` are the upper ends of all its bins but the last, which has none."""

    name: str
    title: str
    edges: tuple[float, ...]

    def counts(self, values: Sequence[float]) -> tuple[int, ...]:
        """How many are in each bin; an edge is in the bin below it."""
        places = np.searchsorted(self.edges, values, side="left")
        return tuple(np.bincount(places, minlength=len(self.edges) + 1).tolist())

    def labels(self) -> list[str]:
        """What the bins are called."""
        edges = [f"{edge:g}" for edge in self.edges]
        between = [f"{low} to {high}" for low, high in itertools.pairwise(edges)]
        return [f"to {edges[0]}", *between, f"above {edges[-1]}"]


LENGTH = Measure("length", "tokens of the prompt", (3, 5, 7, 9, 11, 13, 16, 20, 25, 30, 40, 60))
UNKNOWN = Measure("unknown", "share of words that no caption has", (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9))
DISTANCE = Measure("distance", "distance to the nearest caption", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
SCORE = Measure("score", "CLIPScore of the picture", (0.5, 0.75, 1.0, 1.25, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1, 2.2))
MEASURES = (LENGTH, UNKNOWN, DISTANCE, SCORE)


def distance(one: Sequence[int], other: Sequence[int]) -> float:
    """The Jensen-Shannon distance of two counts in the same bins: 0 where their shares are the same, 1 where they have
    no bin in common (Endres and Schindelin, 2003). It needs no count to be above 0, and each is above 0 in all."""
    return float(_distances(np.asarray([one], float), np.asarray([other], float))[0])


def by_chance(reference: Sequence[int], size: int) -> float:
    """The distance beyond which one of a thousand samples of so many would be, if all came from where the reference
    came from, which is a sample itself."""
    total = sum(reference)
    shares, dice = np.asarray(reference, float) / total, np.random.default_rng(0)
    samples, others = (dice.multinomial(count, shares, size=DRAWS).astype(float) for count in (size, total))
    return float(np.quantile(_distances(samples, others), LEVEL))


def _distances(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of each row of counts (N, bins) and the other in its place."""
    p, q = (counts / counts.sum(axis=1, keepdims=True) for counts in (rows, others))
    middle = (p + q) / 2
    divergence = (_information(p, middle) + _information(q, middle)) / 2
    found: np.ndarray = np.sqrt(np.clip(divergence, 0.0, 1.0))
    return found


def _information(p: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """In bits; what has no share adds nothing."""
    ratio = np.divide(p, middle, out=np.ones_like(p), where=p > 0)
    found: np.ndarray = (p * np.log2(ratio)).sum(axis=1)
    return found
