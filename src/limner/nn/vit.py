"""A vision transformer: a picture as a row of patches, read by a class token (Dosovitskiy et al. 2021), as in CLIP.

B batch, N patches, W width.
"""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from limner.nn.prenorm import Activation, PreNormConfig, PreNormStack


class VisionTransformer(nn.Module):
    """Pictures (B, 3, S, S), S = `image_size`, to features (B, out): the class token's, after the last block."""

    def __init__(
        self, config: PreNormConfig, *, image_size: int, patch: int, out: int, activation: Activation = "gelu"
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, config.width, patch, stride=patch, bias=False)
        self.token = nn.Parameter(torch.empty(config.width))
        self.place = nn.Parameter(torch.empty(1 + (image_size // patch) ** 2, config.width))
        self.before = nn.LayerNorm(config.width)
        self.blocks = PreNormStack(config, activation)
        self.after = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, out, bias=False)
        for one in (self.token, self.place, self.project.weight):
            nn.init.normal_(one, std=config.width**-0.5)

    def forward(self, images: Tensor) -> Tensor:
        x = rearrange(self.patches(images), "B W h w -> B (h w) W")
        token = repeat(self.token.to(x.dtype), "W -> B 1 W", B=len(x))
        x = torch.cat([token, x], dim=1) + self.place
        x = self.blocks(self.before(x))
        features: Tensor = self.project(self.after(x[:, 0]))
        return features
