"""A critic of patches (Isola et al. 2017), as it teaches autoencoders what is sharp (Esser et al. 2021).

B batch, C channels, h and w the grid of patches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core import check

SLOPE = 0.2  # of the leaky ReLUs


@dataclass(frozen=True, slots=True)
class CriticConfig:
    width: int = 32  # channels after the first halving; they double with each
    halvings: int = 3
    start: float = 0.5  # the share of the autoencoder's training before it is heard
    weight: float = 0.5  # beside the absolute error, both measured by their gradients at the decoder's last layer

    def __post_init__(self) -> None:
        check(self.width > 0 and self.width % 8 == 0, f"width = {self.width} does not divide by 8; set 32, say")
        check(self.halvings >= 1, f"halvings = {self.halvings} must be 1 or more")
        check(0.0 <= self.start <= 1.0, f"start = {self.start} is not a share of the training, from 0 to 1")
        check(self.weight >= 0.0, f"weight = {self.weight} must not be negative")


class PatchCritic(nn.Module):
    """Pictures (B, 3, H, W) to how real each patch looks, (B, 1, h, w)."""

    passed: Tensor

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        before = 3
        for number in range(config.halvings):
            after = config.width << number
            layers.append(nn.Conv2d(before, after, 4, stride=2, padding=1))
            layers += [nn.GroupNorm(8, after)] if number else []
            layers.append(nn.LeakyReLU(SLOPE))
            before = after
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 4, padding=1))
        self.register_buffer("passed", torch.tensor(0.0))

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.layers(images.contiguous(memory_format=torch.channels_last))
        return out

    def anneal(self, passed: float) -> None:
        self.passed.fill_(passed)

    @property
    def heard(self) -> bool:
        return self.passed.item() >= self.config.start

    def loss(self, real: Tensor, painted: Tensor) -> Tensor:
        """The hinge: real patches above 1, painted ones below -1."""
        return (F.relu(1.0 - self(real)).mean() + F.relu(1.0 + self(painted)).mean()) / 2

    def wish(self, painted: Tensor, error: Tensor, last: Tensor) -> Tensor:
        """What the critic would have otherwise, weighted so that its gradient for the weights `last`, of the layer that
        painted, is `weight` times that of `error`."""
        wish = -self(painted).mean()
        mine, other = (torch.autograd.grad(one, last, retain_graph=True)[0].norm() for one in (wish, error))
        return self.config.weight * (other / (mine + 1e-6)).clamp(max=1e4).detach() * wish
