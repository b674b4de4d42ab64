"""Vendi and the diversity within a prompt, where the number of different pictures is known."""

from __future__ import annotations

import pytest
import torch

from limner.core import InputError
from limner.evaluate.metrics import pairwise_diversity, vendi, vendi_within
from tests.evaluate.rows import FEW, features


def test_vendi_counts_what_is_different():
    assert vendi(features(torch.eye(6)), bootstrap=FEW).value == pytest.approx(6)
    assert vendi(features(torch.ones(6, 4)), bootstrap=FEW).value == pytest.approx(1)
    assert vendi(features(5 * torch.eye(3).repeat(4, 1)), bootstrap=FEW).value == pytest.approx(3)


def test_vendi_of_a_published_example():
    """K = [[1, .9, 0], [.9, 1, 0], [0, 0, 1]] is 2.1573, from both sides of the duality."""
    rows = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.19**0.5, 0.0], [0.0, 0.0, 1.0]])
    assert vendi(features(rows), bootstrap=FEW).value == pytest.approx(2.1573, abs=5e-5)
    wide = torch.cat([rows, torch.zeros(3, 5)], dim=1)
    assert vendi(features(wide), bootstrap=FEW).value == pytest.approx(2.1573, abs=5e-5)


def test_within_a_prompt_each_prompt_counts_once():
    """One prompt of three different pictures, one of two that are alike."""
    rows, prompts = torch.eye(4)[[0, 1, 2, 3, 3]], ["a", "a", "a", "b", "b"]
    assert vendi_within(features(rows, prompts), bootstrap=FEW).value == pytest.approx((3 + 1) / 2)
    assert pairwise_diversity(features(rows, prompts), bootstrap=FEW).value == pytest.approx((1 + 0) / 2)


def test_diversity_is_one_less_the_mean_cosine_of_pairs():
    rows = torch.randn(7, 4, dtype=torch.float64)
    cosines = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=2)
    expected = 1 - float(cosines.sum() - 7) / 42
    both = features(torch.cat([rows, rows.flip(0)]), ["a"] * 7 + ["b"] * 7)
    assert pairwise_diversity(both, bootstrap=FEW).value == pytest.approx(expected)


def test_one_picture_of_a_prompt_is_too_few():
    with pytest.raises(InputError, match="'b' has one picture only; draw 2 or more of each prompt"):
        vendi_within(features(torch.eye(3), ["a", "a", "b"]))
