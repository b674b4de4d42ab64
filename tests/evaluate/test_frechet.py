"""The Frechet distance against the closed forms of Gaussians, and its noise floor against simulation."""

from __future__ import annotations

import pytest
import torch
from tests.evaluate.rows import FEW, features, normal, whitened

from limner.core import InputError
from limner.evaluate.metrics import frechet_distance, noise_floor


def distance(one, other):
    return frechet_distance(one, other, bootstrap=FEW).value


@pytest.mark.parametrize(("rows", "width"), [(300, 20), (20, 300)])
def test_a_set_is_nowhere_from_itself(rows, width):
    one = normal(rows, width, 0, scale=3.0, shift=5.0)
    assert distance(one, one) == pytest.approx(0, abs=1e-6)


def test_a_shift_is_its_squared_length():
    x, shift = whitened(200, 6, 1), torch.arange(6.0)
    assert distance(features(x + shift), features(x)) == pytest.approx(float(shift.square().sum()))


def test_a_scale_of_each_axis_is_the_squared_differences_of_the_deviations():
    x, one, other = whitened(200, 4, 2), torch.tensor([1.0, 2.0, 3.0, 0.0]), torch.tensor([2.0, 2.0, 0.5, 1.0])
    assert distance(features(x * one), features(x * other)) == pytest.approx(1 + 0 + 6.25 + 1)


def test_it_is_the_same_both_ways_in_any_order_and_any_rotation():
    one, other = normal(120, 5, 3), normal(90, 5, 4, scale=1.5)
    turn = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64)).Q
    expected = distance(one, other)
    assert distance(other, one) == pytest.approx(expected)
    assert distance(features(one.values.flip(0)), other) == pytest.approx(expected)
    assert distance(features(one.values @ turn), features(other.values @ turn)) == pytest.approx(expected)


def test_features_without_any_spread_have_a_distance():
    assert distance(features(torch.zeros(5, 3)), features(torch.ones(5, 3))) == pytest.approx(3)


def test_two_pictures_are_the_fewest():
    with pytest.raises(InputError, match="Frechet distance needs 2 or more pictures, and there are 1"):
        frechet_distance(normal(1, 3, 0), normal(9, 3, 1))


# ---------------------------------------------------------------------------------------------------
# The noise floor.

FLAT, FALLING = torch.ones(32, dtype=torch.float64), 1 / torch.arange(1.0, 65, dtype=torch.float64)


@pytest.mark.parametrize(
    ("spectrum", "n", "m", "repeats"), [(FLAT, 400, 400, 24), (FLAT, 100, 600, 30), (FALLING, 200, 200, 40)]
)
def test_the_floor_is_what_is_measured_between_samples_of_one_distribution(spectrum, n, m, repeats):
    """Within 5 %, from the eigenvalues that a sample has, at as few as 3 pictures a dimension."""
    measured, said = [], []
    for repeat in range(repeats):
        one, other = (
            features(normal(count, len(spectrum), 2 * repeat + side).values * spectrum.sqrt())
            for side, count in enumerate((n, m))
        )
        score = frechet_distance(one, other, bootstrap=FEW)
        measured.append(score.value)
        said.append(score.floor)
    assert sum(said) == pytest.approx(sum(measured), rel=0.05)


def test_the_floor_of_known_eigenvalues_is_the_formula():
    """With so many pictures that the sample's eigenvalues are the population's."""
    n, m = 500, 10**9
    pairs = FALLING[:, None] * FALLING / (2 * (FALLING[:, None] + FALLING))
    expected = (1 / n + 1 / m) * float(FALLING.sum() + pairs.sum() + pairs.diagonal().sum())
    assert noise_floor(FALLING, n, m) == pytest.approx(expected, rel=1e-3)


def test_the_floor_halves_with_twice_the_pictures():
    assert noise_floor(FLAT, 10**6, 10**6) == pytest.approx(2 * noise_floor(FLAT, 2 * 10**6, 2 * 10**6), rel=1e-3)


@pytest.mark.parametrize(("n", "m"), [(1000, 16), (10, 1000)])
def test_no_floor_is_said_for_too_few_pictures_to_know_it(n, m):
    one, other = normal(n, 32, 0), normal(m, 32, 1)
    assert frechet_distance(one, other, bootstrap=FEW).floor is None
