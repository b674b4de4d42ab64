from __future__ import annotations

import math

import pytest
import torch

from limner.process.gaussians import Gaussian, divergence


def gaussian(mean: float, sigma: float, width: int = 1) -> Gaussian:
    return Gaussian(torch.full((1, width), mean), torch.full((1, width), math.log(sigma)))


def test_the_divergence_of_equal_gaussians_is_nothing() -> None:
    one = gaussian(0.7, 2.5, width=4)
    assert divergence(one, one).tolist() == [0.0]


@pytest.mark.parametrize(
    ("q", "p", "nats"),
    [
        ((1.0, 1.0), (0.0, 1.0), 0.5),  # a shift by one sigma
        ((0.0, 2.0), (0.0, 1.0), 1.5 - math.log(2.0)),
        ((0.0, 1.0), (0.0, 2.0), math.log(2.0) - 0.375),
        ((3.0, 0.5), (1.0, 2.0), math.log(4.0) + (0.25 + 4.0) / 8.0 - 0.5),
    ],
)
def test_the_divergence_of_others_is_the_textbook_s(
    q: tuple[float, float], p: tuple[float, float], nats: float
) -> None:
    assert divergence(gaussian(*q), gaussian(*p)).item() == pytest.approx(nats, abs=1e-6)
    assert divergence(gaussian(*q, width=3), gaussian(*p, width=3)).item() == pytest.approx(3 * nats, abs=1e-5)


def test_the_divergence_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    q, p = (Gaussian(*torch.randn(2, 5, 7, generator=generator).unbind()) for _ in range(2))
    normals = [torch.distributions.Normal(one.mean, one.log_sigma.exp()) for one in (q, p)]
    torch.testing.assert_close(divergence(q, p), torch.distributions.kl_divergence(*normals).sum(dim=1))


def test_samples_have_the_mean_and_the_spread() -> None:
    found = gaussian(3.0, 0.5).at(torch.tensor([[-1.0], [0.0], [2.0]]))
    torch.testing.assert_close(found, torch.tensor([[2.5], [3.0], [4.0]]))
    standard = Gaussian.standard(2, 3, like=found)
    assert standard.at(torch.ones(2, 3)).equal(torch.ones(2, 3))
