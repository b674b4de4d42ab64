"""Choices counted over an even grid of numbers instead of random ones: shares are then exact to one in the grid."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from limner.process.categorical import choose, divergence_from_uniform, gumbel_softmax

LOGITS = torch.tensor([0.5, 2.0, -1.0, 1.0, 0.0])
GRID = 2000


def shares(*, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    uniform = (torch.arange(GRID).double() + 0.5) / GRID
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    rows = {name: torch.tensor(value).expand(GRID) for name, value in settings.items()}
    chosen = choose(LOGITS.expand(GRID, -1), uniform, **rows)
    return torch.bincount(chosen, minlength=len(LOGITS)) / GRID


def test_tokens_are_chosen_by_their_chances_at_every_temperature() -> None:
    for temperature in (0.5, 1.0, 3.0):
        torch.testing.assert_close(
            shares(temperature=temperature), (LOGITS / temperature).softmax(dim=0), atol=1e-3, rtol=0
        )


@pytest.mark.parametrize(
    ("top_k", "kept"), [(1, [1]), (2, [1, 3]), (4, [0, 1, 3, 4]), (0, [0, 1, 2, 3, 4]), (99, [0, 1, 2, 3, 4])]
)
def test_top_k_keeps_the_likeliest(top_k: int, kept: list[int]) -> None:
    wanted = torch.zeros(len(LOGITS))
    wanted[kept] = LOGITS[kept].softmax(dim=0)
    torch.testing.assert_close(shares(top_k=top_k), wanted, atol=1e-3, rtol=0)


def test_top_p_keeps_the_smallest_set_that_is_large_enough() -> None:
    """The chances in order are 0.56, 0.21, 0.13, 0.08 and 0.03."""
    for top_p, count in ((1e-9, 1), (0.56, 1), (0.58, 2), (0.76, 2), (0.78, 3), (0.99, 5)):
        assert (shares(top_p=top_p) > 0).sum() == count, top_p
    both = shares(top_k=3, top_p=0.8)  # of the three that are left the two likeliest have 0.86
    assert both.nonzero()[:, 0].tolist() == [1, 3]


def test_each_row_has_its_own_settings() -> None:
    rows = choose(
        LOGITS.expand(3, -1), torch.tensor([0.999] * 3).double(), temperature=torch.tensor([1.0, 1.0, 0.01]),
        top_k=torch.tensor([0, 2, 0]), top_p=torch.ones(3),
    )  # fmt: skip
    assert rows.tolist() == [4, 3, 1]


def test_the_ends_of_the_numbers_choose_tokens_that_have_a_chance() -> None:
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]]).expand(2, -1)
    uniform = torch.tensor([0.0, 1.0 - 2.0**-53], dtype=torch.float64)
    rows = choose(logits, uniform, temperature=torch.ones(2), top_k=torch.zeros(2), top_p=torch.ones(2))
    assert rows.tolist() == [1, 3]


def test_the_relaxation_is_soft_when_warm_and_a_sample_when_cold() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = LOGITS[:, None].expand(5, 5000)
    warm, cold = (gumbel_softmax(logits, temperature, generator, dim=0) for temperature in (2.0, 1e-3))
    for one in (warm, cold):
        torch.testing.assert_close(one.sum(dim=0), torch.ones(5000))
    assert warm.max(dim=0).values.mean() < 0.7
    assert cold.max(dim=0).values.mean() > 0.999
    torch.testing.assert_close(cold.mean(dim=1), LOGITS.softmax(dim=0), atol=0.02, rtol=0)
    again = gumbel_softmax(logits, 2.0, torch.Generator().manual_seed(0), dim=0)
    assert again.equal(warm)


def test_the_divergence_is_from_uniform() -> None:
    logits = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0))
    wanted = kl_divergence(Categorical(logits=logits.movedim(1, -1)), Categorical(logits=torch.zeros(3, 2, 7)))
    torch.testing.assert_close(divergence_from_uniform(logits, dim=1), wanted)
    certain = torch.tensor([0.0, 100.0, 0.0, 0.0])
    torch.testing.assert_close(divergence_from_uniform(certain, dim=0), torch.tensor(math.log(4)))
