"""Precision, recall, density and coverage: what they are for one distribution, for lost modes, for nonsense."""

from __future__ import annotations

import pytest
import torch

from limner.core import InputError
from limner.evaluate.metrics import manifold, neighbours
from tests.evaluate.rows import FEW, features, normal


def measured(drawn, real, k=5):
    found = manifold(drawn, real, k=k, bootstrap=FEW)
    return {name: getattr(found, name).value for name in ("precision", "recall", "density", "coverage")}


@pytest.mark.parametrize("k", [1, 3])
def test_one_distribution_is_covered_but_for_two_to_the_minus_k(k):
    found = [measured(normal(300, 6, 2 * seed), normal(300, 6, 2 * seed + 1), k) for seed in range(5)]
    assert sum(each["coverage"] for each in found) / 5 == pytest.approx(1 - 2**-k, abs=0.02)
    assert sum(each["density"] for each in found) / 5 == pytest.approx(1, abs=0.05)


def test_another_world_has_nothing_of_this():
    assert measured(normal(50, 3, 0, shift=100.0), normal(50, 3, 1)) == dict.fromkeys(
        ("precision", "recall", "density", "coverage"), 0
    )


def test_lost_modes_cost_recall_and_coverage_and_no_precision():
    """Four clusters far apart, of which the generated pictures have one."""
    place = 100 * torch.eye(4).repeat_interleave(50, 0)
    real, again = (features(normal(200, 4, seed).values + place) for seed in (0, 1))
    whole, one = measured(again, real), measured(again[range(50)], real)
    assert whole["recall"] > 0.8
    assert one["recall"] == pytest.approx(whole["recall"] / 4, abs=0.06)
    assert one["coverage"] < 0.26 < 0.9 < whole["coverage"]
    assert one["precision"] == pytest.approx(whole["precision"], abs=0.1)


def test_a_picture_that_is_a_real_one_is_in_its_ball_be_it_never_so_small():
    twins = features(torch.eye(3).repeat_interleave(8, 0))  # each has 7 neighbours at distance 0
    assert measured(twins, twins, k=3)["precision"] == 1
    assert measured(features(torch.eye(3)[:1].repeat(9, 1)), twins, k=3)["coverage"] == pytest.approx(1 / 3)


def test_order_and_parts_play_no_role(monkeypatch):
    drawn, real = normal(90, 4, 0), normal(80, 4, 1)
    expected = measured(drawn, real)
    monkeypatch.setattr(neighbours, "CHUNK", 7)
    assert measured(features(drawn.values.flip(0)), features(real.values.roll(5, 0))) == pytest.approx(expected)


def test_there_are_more_pictures_than_neighbours():
    with pytest.raises(InputError, match="precision and recall needs 6 or more pictures, and there are 5"):
        manifold(normal(9, 2, 0), normal(5, 2, 1))
