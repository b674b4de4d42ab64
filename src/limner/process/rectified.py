"""Rectified flow: x_t = (1 - t) x0 + t eps, straight from data (t = 0) to noise (t = 1) (Liu et al. 2022).

The network may predict x0 whatever the loss is measured in: velocity is v = eps - x0 = (x_t - x0) / t.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def mix(x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """x_t for each row's own t (B,)."""
    t = spread_over(t, x0)
    return (1.0 - t) * x0 + t * eps


def spread_over(t: Tensor, x: Tensor) -> Tensor:
    """(B,) as (B, 1, ..., 1), to be broadcast over x."""
    return t.reshape(-1, *[1] * (x.ndim - 1))


def logit_normal(count: int, *, mean: float, spread: float, generator: Generator) -> Tensor:
    """Training times t = sigmoid(n), n ~ N(mean, spread) (Esser et al. 2024, section 3.1), one from each of `count`
    equal slices of the distribution: the same density, less variance between batches."""
    slices = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    return torch.sigmoid(mean + spread * torch.special.ndtri(slices.clamp(1e-4, 1 - 1e-4)))


def times(steps: int, *, shift: float) -> Tensor:
    """The sampling times 1 = t_0 > ... > t_steps = 0, an even grid moved towards noise: t' = a t / (1 + (a - 1) t)."""
    t = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)
    return (shift * t / (1.0 + (shift - 1.0) * t)).float()


class Wiener:
    """The best linear denoiser of Gaussian data, channel by channel, and what is left for a network to do.

    With data of standard deviation sigma_c in channel c, the linear estimate is keep * x_t; its error
    has standard deviation `left`. A network that outputs numbers of unit size then predicts
    x0 = keep * x_t + left * output (Karras et al. 2022, section 5, for each channel of its own).
    """

    def __init__(self, t: Tensor, sigma: Tensor) -> None:
        """`t` (B,), `sigma` (C,): the factors come out as (B, C, 1, 1)."""
        t, sigma = t[:, None, None, None], sigma[:, None, None]
        variance = ((1.0 - t) * sigma).square() + t.square()
        self.shrink = variance.rsqrt()  # x_t to unit variance
        self.keep = (1.0 - t) * sigma.square() / variance
        self.left = t * sigma * self.shrink
