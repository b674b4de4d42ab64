"""The error from the conditional mean of a regressor, of a sampler, and of nonsense."""

from __future__ import annotations

import pytest
import torch

from limner.core import InputError
from limner.evaluate.metrics import conditional_error
from tests.evaluate.rows import FEW, features

PROMPTS, REAL = 200, 4


@pytest.fixture(scope="module")
def world():
    """Means by prompt (200, 10), and 4 real pictures of each with variance 1."""
    generator = torch.Generator().manual_seed(0)
    means = 5 * torch.randn(PROMPTS, 10, generator=generator, dtype=torch.float64)
    names = [str(number) for number in range(PROMPTS)]
    draw = lambda: means + torch.randn(PROMPTS, 10, generator=generator, dtype=torch.float64)  # noqa: E731
    return means, names, features(torch.cat([draw() for _ in range(REAL)]), names * REAL), draw


def test_a_perfect_regressor_scores_the_floor_and_a_perfect_sampler_k_plus_one_times_it(world):
    means, names, real, draw = world
    regressor = conditional_error(features(means, names), real, bootstrap=FEW)
    assert regressor.floor == pytest.approx(1 / REAL, rel=0.05)
    assert regressor.value == pytest.approx(regressor.floor, rel=0.1)
    sampler = conditional_error(features(draw(), names), real, bootstrap=FEW)
    assert sampler.value == pytest.approx((REAL + 1) * sampler.floor, rel=0.1)


def test_the_mean_itself_is_nowhere_from_itself_and_other_prompts_are_far(world):
    _, names, real, _ = world
    exact = real.values.reshape(REAL, PROMPTS, 10).mean(0)
    assert conditional_error(features(exact, names), real, bootstrap=FEW).value == pytest.approx(0, abs=1e-12)
    assert conditional_error(features(exact.roll(1, 0), names), real, bootstrap=FEW).value > 25


def test_a_prompt_has_two_real_pictures(world):
    means, names, real, _ = world
    with pytest.raises(InputError, match="'0' has 1 real pictures and wants 2 or more"):
        conditional_error(features(means, names), real[range(PROMPTS)])
