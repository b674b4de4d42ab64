"""Against torch's own distributions, and against what a density and a median are."""

from __future__ import annotations

import torch
from torch.distributions import Laplace, SigmoidTransform, TransformedDistribution

from limner.process.logit_laplace import log_density, squeeze, unsqueeze


def test_it_is_the_density_of_a_laplace_variable_s_sigmoid() -> None:
    y, mean, log_scale = torch.rand(3, 50).double() * torch.tensor([[0.98], [4.0], [2.0]]) + torch.tensor(
        [[0.01], [-2.0], [-1.5]]
    )
    wanted = TransformedDistribution(Laplace(mean, log_scale.exp()), SigmoidTransform()).log_prob(y)
    torch.testing.assert_close(log_density(y, mean, log_scale), wanted)


def test_it_integrates_to_one() -> None:
    y = (torch.arange(100_000).double() + 0.5) / 100_000
    for mean, log_scale in ((0.0, -1.0), (1.5, -2.0), (-0.5, 0.0)):
        total = log_density(y, torch.tensor(mean).double(), torch.tensor(log_scale).double()).exp().mean()
        torch.testing.assert_close(total, torch.ones(()).double(), atol=1e-3, rtol=0)


def test_pixels_are_squeezed_away_from_the_ends_and_back() -> None:
    pixels = torch.linspace(-1, 1, 11)
    squeezed = squeeze(pixels)
    torch.testing.assert_close(squeezed[[0, 5, 10]], torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(unsqueeze(squeezed), pixels)
    assert unsqueeze(torch.tensor([0.0, 1.0])).tolist() == [-1.0, 1.0]
