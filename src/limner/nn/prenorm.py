"""The pre-norm transformer of GPT-2 and ViT (Radford et al. 2019; Dosovitskiy et al. 2021), of both towers of CLIP.

B batch, N tokens, W width, H heads, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from limner.core import check
from limner.nn.attention import attend

Activation = Literal["gelu", "quick_gelu"]


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), near enough to GELU to be taken for it and far enough to spoil weights made for the other."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[Activation, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "quick_gelu": quick_gelu}


@dataclass(frozen=True, slots=True)
class PreNormConfig:
    width: int = 128
    depth: int = 4
    heads: int = 4
    hidden: int = 512  # of each block's MLP

    def __post_init__(self) -> None:
        check(
            self.width > 0 and self.heads > 0 and self.width % self.heads == 0,
            f"width = {self.width} does not divide into heads = {self.heads}",
        )
        check(self.depth > 0, f"depth = {self.depth} must be above 0")
        check(self.hidden > 0, f"hidden = {self.hidden} must be above 0")


class PreNormBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)), with biases everywhere."""

    def __init__(self, config: PreNormConfig, activation: Activation) -> None:
        super().__init__()
        self.heads, self.activation = config.heads, ACTIVATIONS[activation]
        self.norm1 = nn.LayerNorm(config.width)
        self.into = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm2 = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, config.hidden)
        self.down = nn.Linear(config.hidden, config.width)

    def forward(self, x: Tensor, *, mask: Tensor | None) -> Tensor:
        """(B, N, W) to the same; `mask` for (B, H, N, N), True where seen."""
        qkv = self.into(self.norm1(x))
        query, key, value = rearrange(qkv, "B N (three H D) -> three B H N D", three=3, H=self.heads)
        attended = attend(query, key, value, mask=mask)
        x = x + self.out(rearrange(attended, "B H N D -> B N (H D)"))
        out: Tensor = x + self.down(self.activation(self.up(self.norm2(x))))
        return out


class PreNormStack(nn.ModuleList):
    """Blocks one after the other."""

    def __init__(self, config: PreNormConfig, activation: Activation) -> None:
        super().__init__(PreNormBlock(config, activation) for _ in range(config.depth))
        self.initialise(config)

    def initialise(self, config: PreNormConfig) -> None:
        """CLIP's: what is added to x is smaller the more blocks add to it."""
        inward, residual = config.width**-0.5, (2 * config.width * config.depth) ** -0.5
        for block in self:
            assert isinstance(block, PreNormBlock)
            spreads = {block.into: inward, block.out: residual, block.up: 0.5**0.5 * inward, block.down: residual}
            for layer, spread in spreads.items():
                nn.init.normal_(layer.weight, std=spread)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, *, mask: Tensor | None = None) -> Tensor:
        for block in self:
            x = block(x, mask=mask)
        return x
