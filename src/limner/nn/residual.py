"""The residual block of convolutional diffusion networks (Ho et al. 2020), and how their maps are halved and doubled.

Parameters have the names that they have in diffusers, so that its files fit as they are. Convolutions keep the memory
format of what they are given.

B batch, C channels, E width of the embedded time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + two convolutions, each after a GroupNorm and a SiLU: (B, `channels`, h, w) to (B, `after`, h, w).

    `time` is E where the block is told the time, by a vector added between the two; 0 where it is not.
    """

    def __init__(self, channels: int, after: int, *, groups: int, eps: float, time: int = 0) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels, eps=eps)
        self.conv1 = nn.Conv2d(channels, after, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, after) if time else None
        self.norm2 = nn.GroupNorm(groups, after, eps=eps)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(channels, after, 1) if channels != after else None

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """`time` is (B, E), embedded."""
        h: Tensor = self.conv1(activate(self.norm1(x)))
        if self.time_emb_proj is not None:
            assert time is not None
            h = h + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(activate(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Downsample(nn.Module):
    """Halves the sides by a convolution, padded alike on all sides."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return out


class Upsample(nn.Module):
    """Doubles the sides: each number becomes four, and a convolution smooths them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


def activate(x: Tensor) -> Tensor:
    """SiLU, in place where no gradient is wanted: `x` must be nobody else's."""
    return F.silu(x, inplace=not torch.is_grad_enabled())
