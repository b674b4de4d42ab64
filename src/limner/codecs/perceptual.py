"""How unlike two pictures look to people (Zhang et al. 2018, LPIPS), by what VGG16 (Simonyan and Zisserman 2015) sees.

Its weights are given by whoever trains, in one safetensors file: the `features` of torchvision's VGG16, and the linear
heads of the lpips package, under the names that they have there. What else is in the file is not read.

B batch, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core import check
from limner.store import weights

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions; sides halve between
LOOKED_AT = (3, 8, 15, 22, 29)  # the last layer of each stage
MEAN, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of ImageNet's colours, in [-1, 1]
SMALLEST = 1 << (len(STAGES) - 1)  # pixels a side
OURS = re.compile(r"features\.\d+\.(weight|bias)|lin\d\.model\.1\.weight")


class Perceptual:
    """Pairs of pictures (B, 3, H, W) in [-1, 1] to their distances (B,), 0 where they look the same.

    Nothing in it learns. It is no module, so that a model which is taught by it is saved without it.

    >>> unlike = Perceptual.load(Path("lpips-vgg16.safetensors"))
    >>> loss = (painted - images).abs().mean() + unlike(images, painted).mean()
    """

    def __init__(self, features: nn.Sequential, heads: Sequence[Tensor]) -> None:
        """`heads` are (1, C, 1, 1), what each channel of a stage counts."""
        self.features, self.heads = features.eval().requires_grad_(False), heads

    @staticmethod
    def load(path: Path) -> Perceptual:
        """InputError if the file is not sound, or a tensor is missing or of another shape."""
        with torch.device("meta"):
            features = vgg16()
        expected = {f"features.{name}": one for name, one in features.state_dict().items()}
        heads = {f"lin{n}.model.1.weight": torch.empty(1, width, 1, 1) for n, (width, _) in enumerate(STAGES)}
        found = {name: one.float() for name, one in weights.load(path).items() if OURS.fullmatch(name)}
        weights.check_match(
            f"{path} must hold torchvision's VGG16 and the heads of lpips for it", expected | heads, found
        )
        features.load_state_dict({name.removeprefix("features."): found[name] for name in expected}, assign=True)
        return Perceptual(features, [found[name] for name in heads])

    def __call__(self, images: Tensor, painted: Tensor) -> Tensor:
        check(
            min(images.shape[-2:]) >= SMALLEST,
            f"pictures of {images.shape[-1]} x {images.shape[-2]} pixels are too small for VGG16, which halves their "
            f"sides to nothing; train at {SMALLEST} or more, or without a perceptual loss",
        )
        distances = [
            F.conv2d((one - other).square(), head.to(one)).mean(dim=(1, 2, 3))
            for one, other, head in zip(self._seen(images), self._seen(painted), self.heads, strict=True)
        ]
        return torch.stack(distances).sum(dim=0)

    def _seen(self, images: Tensor) -> Iterator[Tensor]:
        """What every stage ends with, (B, C, h, w), of length 1 at each place."""
        mean, spread = (torch.tensor(one, device=images.device)[:, None, None] for one in (MEAN, SPREAD))
        x = ((images.float() - mean) / spread).contiguous(memory_format=torch.channels_last)
        for number, layer in enumerate(self.features.to(images.device)):
            x = layer(x)
            if number in LOOKED_AT:
                yield F.normalize(x, dim=1, eps=1e-10)


def vgg16() -> nn.Sequential:
    """VGG16 without its classifier, its layers numbered as torchvision numbers them."""
    layers: list[nn.Module] = []
    before = 3
    for width, convolutions in STAGES:
        layers += [nn.MaxPool2d(2)] if layers else []
        for _ in range(convolutions):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
            before = width
    return nn.Sequential(*layers)
