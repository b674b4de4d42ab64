"""KID and CMMD against their definitions, and where they have to be nought."""

from __future__ import annotations

import pytest
import torch

from limner.core import InputError
from limner.evaluate.metrics import cmmd, kernel, kernel_inception_distance
from tests.evaluate.rows import FEW, features, normal


def kid(one, other, **settings):
    return kernel_inception_distance(one, other, bootstrap=FEW, **settings).value


def test_kid_has_no_bias():
    """60 pairs of samples of one distribution: on average 0, within three of its own errors."""
    found = torch.tensor(
        [kid(normal(50, 8, 2 * k), normal(50, 8, 2 * k + 1), subsets=1, subset_size=50) for k in range(60)]
    )
    assert abs(float(found.mean())) < 3 * float(found.std()) / 60**0.5
    assert float(found.min()) < 0 < float(found.max())


def test_kid_is_the_mean_over_pairs_of_different_rows():
    one, other = normal(7, 3, 0), normal(7, 3, 1, shift=1.0)
    k = [((a.values @ b.values.T) / 3 + 1) ** 3 for a, b in ((one, one), (other, other), (one, other))]
    within = [(each.sum() - each.trace()) / 42 for each in k[:2]]
    expected = float(within[0] + within[1] - 2 * k[2].mean())
    assert kid(one, other, subsets=3, subset_size=7) == pytest.approx(expected)


def test_a_subset_needs_as_many_pictures():
    with pytest.raises(InputError, match="KID needs 1000 or more pictures, and there are 40; give more, or a smaller"):
        kernel_inception_distance(normal(40, 3, 0), normal(2000, 3, 1))


def test_cmmd_is_its_definition_on_normalised_rows():
    one, other = normal(9, 4, 0), normal(8, 4, 1, shift=0.5)
    x, y = (torch.nn.functional.normalize(each.values) for each in (one, other))
    means = [torch.exp(-torch.cdist(a, b).square() / 200).mean() for a, b in ((x, x), (y, y), (x, y))]
    expected = 1000 * float(means[0] + means[1] - 2 * means[2])
    assert cmmd(one, other, bootstrap=FEW).value == pytest.approx(expected)
    scaled = features(one.values * torch.rand(9, 1).add(0.1))
    assert cmmd(scaled, other, bootstrap=FEW).value == pytest.approx(expected)


def test_cmmd_of_one_distribution_is_its_floor():
    scores = [cmmd(normal(40, 64, 2 * k), normal(60, 64, 2 * k + 1), bootstrap=FEW) for k in range(60)]
    mean, floor = (sum(getattr(score, name) for score in scores) / 60 for name in ("value", "floor"))
    assert mean == pytest.approx(floor, rel=0.05)


def test_parts_of_the_rows_make_the_same_sum(monkeypatch):
    one, other = normal(30, 4, 0), normal(30, 4, 1)
    whole = kid(one, other, subsets=2, subset_size=25), cmmd(one, other, bootstrap=FEW).value
    monkeypatch.setattr(kernel, "CHUNK", 7)
    assert (kid(one, other, subsets=2, subset_size=25), cmmd(one, other, bootstrap=FEW).value) == pytest.approx(whole)
