"""How far distributions are from one another, and how far chance takes them: against closed forms and samples."""

from __future__ import annotations

import math

import numpy as np
import pytest

from limner.serve.seeing.drift.distributions import MEASURES, UNKNOWN, by_chance, distance

SHARES = (0.02, 0.06, 0.2, 0.3, 0.25, 0.1, 0.05, 0.02)


def test_an_edge_is_in_the_bin_below_it() -> None:
    assert UNKNOWN.counts([0.0, 0.0, 0.05, 0.1, 0.11, 1.0]) == (2, 2, 1, 0, 0, 0, 0, 0, 1)
    assert UNKNOWN.counts([]) == (0,) * 9


@pytest.mark.parametrize("measure", MEASURES, ids=lambda one: one.name)
def test_every_bin_has_a_name(measure) -> None:
    assert list(measure.edges) == sorted(set(measure.edges))
    assert len(measure.labels()) == len(measure.counts([1.0])) == len(measure.edges) + 1


def test_the_distance_is_that_of_jensen_and_shannon() -> None:
    assert distance((3, 0, 9), (1, 0, 3)) == 0.0
    assert distance((5, 0, 0), (0, 2, 2)) == pytest.approx(1.0)
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))  # of the middle of (1, 0) and (1/2, 1/2)
    assert distance((8, 0), (2, 2)) == pytest.approx(math.sqrt(entropy - 0.5))
    assert distance((2, 2), (8, 0)) == distance((8, 0), (2, 2))


@pytest.mark.parametrize(("total", "size"), [(33, 60), (2000, 30), (200, 200)])
def test_chance_is_hardly_ever_beyond_it(total: int, size: int) -> None:
    """Where the reference is a small sample, too: what is held is one of the distances between two."""
    dice, beyond, pairs = np.random.default_rng(7), 0, 150
    for _ in range(pairs):
        reference, counts = dice.multinomial(total, SHARES), dice.multinomial(size, SHARES)
        beyond += distance(counts, reference) > by_chance(reference.tolist(), size)
    assert beyond / pairs < 0.02


def test_many_are_moved_less_by_chance_than_few() -> None:
    reference = [round(1000 * share) for share in SHARES]
    found = [by_chance(reference, size) for size in (20, 100, 1000)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 2 * found[-1]
