"""The Inception Score at both of its ends."""

from __future__ import annotations

import pytest
import torch

from limner.core import InputError
from limner.evaluate.metrics import inception_score
from tests.evaluate.rows import FEW, features


@pytest.mark.parametrize("classes", [2, 7])
def test_it_is_the_number_of_classes_where_each_picture_is_sure_of_one_and_all_are_as_many(classes):
    logits = 100 * torch.eye(classes).repeat(50, 1)
    assert inception_score(features(logits), splits=1, bootstrap=FEW).value == pytest.approx(classes)


def test_it_is_one_where_all_pictures_are_alike():
    assert inception_score(features(torch.randn(1, 9).repeat(40, 1)), bootstrap=FEW).value == pytest.approx(1)


def test_it_never_falls_below_one_and_never_depends_on_a_constant():
    logits = torch.randn(200, 5, dtype=torch.float64)
    found = inception_score(features(logits), bootstrap=FEW).value
    assert found > 1
    assert inception_score(features(logits + torch.randn(200, 1)), bootstrap=FEW).value == pytest.approx(found)


def test_there_is_a_picture_for_each_part():
    with pytest.raises(InputError, match="Inception Score needs 10 or more pictures, and there are 9"):
        inception_score(features(torch.randn(9, 5)))
