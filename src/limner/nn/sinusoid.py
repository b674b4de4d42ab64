"""Numbers as vectors of cosines and sines (Vaswani et al. 2017), in the order of latent diffusion."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LONGEST = 10_000.0  # the slowest wave's length, over 2 pi


def sinusoid(t: Tensor, width: int) -> Tensor:
    """(B,) to (B, width): the cosines first, then the sines, of t LONGEST^(-i / half), i from 0; float32."""
    half = width // 2
    frequencies = torch.exp(-math.log(LONGEST) / half * torch.arange(half, device=t.device))
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
