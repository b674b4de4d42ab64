"""The logit-Laplace distribution of pixels (Ramesh et al. 2021, appendix A.3).

A pixel has two ends, and a normal or Laplace density puts weight beyond them. Here logit(y) is Laplace, so y lies in
(0, 1). At the ends themselves the density has no limit; pixels are therefore squeezed into [0.1, 0.9] first.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MARGIN = 0.1  # at either end of (0, 1)


def squeeze(pixels: Tensor) -> Tensor:
    """[-1, 1] to [0.1, 0.9]."""
    return 0.5 + (0.5 - MARGIN) * pixels


def unsqueeze(squeezed: Tensor) -> Tensor:
    """The inverse of `squeeze`; what lies outside [0.1, 0.9] goes to the nearer end."""
    return ((squeezed - 0.5) / (0.5 - MARGIN)).clamp(-1.0, 1.0)


def log_density(y: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """ln f(y) = -ln(2b) - ln(y (1 - y)) - |logit(y) - mean| / b, with b = exp(log_scale); y in (0, 1)."""
    logit = torch.logit(y)
    return -math.log(2.0) - log_scale - torch.log(y * (1.0 - y)) - (logit - mean).abs() * torch.exp(-log_scale)
