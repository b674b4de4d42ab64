"""The Frechet distance against the closed forms of Gaussians, and its noise floor against simulation."""

from __future__ import annotations

import pytest
import torch

from limner.core import InputError
from limner.evaluate.metrics import frechet_distance
from limner.evaluate.metrics.floor import noise_floor
from tests.evaluate.rows import FEW, features, normal, whitened


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


def measured_and_said(draw, n, m, repeats):
    """The mean distance of samples of one distribution, and the mean floor that is said of them."""
    scores = [
        frechet_distance(draw(n, 2 * repeat), draw(m, 2 * repeat + 1), bootstrap=FEW) for repeat in range(repeats)
    ]
    return sum(one.value for one in scores) / repeats, sum(one.floor for one in scores) / repeats


@pytest.mark.parametrize(
    ("spectrum", "n", "m", "repeats"), [(FLAT, 400, 400, 24), (FLAT, 100, 600, 30), (FALLING, 200, 200, 40)]
)
def test_the_floor_is_what_is_measured_between_samples_of_one_distribution(spectrum, n, m, repeats):
    """Within 5 %, from what a sample knows, at as few as 3 pictures a dimension."""
    measured, said = measured_and_said(
        lambda count, seed: features(normal(count, len(spectrum), seed).values * spectrum.sqrt()), n, m, repeats
    )
    assert said == pytest.approx(measured, rel=0.05)


def test_the_floor_of_features_with_long_tails_is_higher_and_said_so():
    """Rows of different lengths: the covariance varies with them all at once, and the floor is half as high again."""

    def draw(count, seed):
        rows = normal(count, 24, seed).values
        return features(rows * (0.2 + torch.rand(count, 1, generator=torch.Generator().manual_seed(seed)) ** 2 * 2.2))

    measured, said = measured_and_said(draw, 500, 500, 24)
    trace = float(draw(20_000, 99).values.var(0).sum())
    gaussian = 2 / 500 * (trace + trace * 24 / 4 + trace / 4)
    assert measured > 1.5 * gaussian
    assert said == pytest.approx(measured, rel=0.1)


def test_the_floor_of_known_eigenvalues_is_the_formula():
    """With so many pictures that the sample's eigenvalues are the population's."""
    n, m = 500, 10_000
    pairs = FALLING[:, None] * FALLING / (2 * (FALLING[:, None] + FALLING))
    expected = (1 / n + 1 / m) * float(FALLING.sum() + pairs.sum() + pairs.diagonal().sum())
    assert noise_floor(normal(m, 64, 0).values * FALLING.sqrt(), n) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("n", "m"), [(1000, 16), (10, 1000)])
def test_no_floor_is_said_for_too_few_pictures_to_know_it(n, m):
    one, other = normal(n, 32, 0), normal(m, 32, 1)
    assert frechet_distance(one, other, bootstrap=FEW).floor is None
