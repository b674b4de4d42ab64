"""Diagonal Gaussians, as (mean, log sigma)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Gaussian:
    """`mean` and `log_sigma` (B, Z): the logarithm of the standard deviation, not of the variance."""

    mean: Tensor
    log_sigma: Tensor

    @staticmethod
    def standard(rows: int, width: int, *, like: Tensor) -> Gaussian:
        zeros = like.new_zeros(rows, width)
        return Gaussian(zeros, zeros)

    def at(self, eps: Tensor) -> Tensor:
        """The sample that unit noise `eps` (B, Z) means here."""
        return self.mean + self.log_sigma.exp() * eps


def divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) in nats, summed over the dimensions: (B,)."""
    squares = (q.mean - p.mean).square() + (2.0 * q.log_sigma).exp()
    spread = torch.exp(-2.0 * p.log_sigma)
    return 0.5 * (squares * spread - 1.0 - 2.0 * q.log_sigma + 2.0 * p.log_sigma).sum(dim=-1)
