"""The Inception-v3 of FID: TensorFlow's "inception-2015-12-05", with its oddities (Szegedy et al., 2016).

Other than in the paper's network, average pools count no padding, the last block pools by the maximum, batch norms
add 1e-3 to the variance, and there are 1008 classes. The names of the weights are those of the file in which
everybody has them for torch, `pt_inception-2015-12-05-6726825d.pth`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.evaluate.extractors.files import filled, tensors_of
from limner.evaluate.extractors.resize import TENSORFLOW, Resize, levels
from limner.evaluate.features import ExtractorId, Features

SIDE, WIDTH, CLASSES = 299, 2048, 1008
NAME = "Inception-v3 (2015-12-05)"

Layer = tuple[str, int, int | tuple[int, int]]  # name, channels, kernel
Chain = Sequence[Layer | tuple[Layer, Layer]]  # one after the other; a pair at the end goes side by side
Pool = Callable[[Tensor], Tensor]

AVERAGE: Pool = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
LARGEST: Pool = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
HALVE: Pool = partial(F.max_pool2d, kernel_size=3, stride=2)


class Inception:
    """Pictures to the 2048 features before the classes, (B, 2048), which FID and KID are made of."""

    def __init__(self, network: Network, *, hash: str, resize: Resize = TENSORFLOW) -> None:
        self.network, self.resize = network, resize
        self.id = ExtractorId(NAME, hash, resize.name)

    @staticmethod
    def load(path: Path, *, resize: Resize = TENSORFLOW) -> Inception:
        """From a safetensors file. `resize` is TENSORFLOW as FID was published, CLEAN as in clean-fid."""
        network = Network()
        return Inception(network, hash=filled(network, tensors_of(path), path, NAME), resize=resize)

    def to(self, device: str | torch.device) -> Self:
        self.network.to(device)
        return self

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        weight = self.network.fc.weight
        pixels = self.resize(levels(images.to(weight.device)), SIDE)
        return self.network(((pixels - 128) / 128).to(weight.dtype))

    def logits(self, features: Features) -> Features:
        """Of the classes (N, 1008), for the Inception Score: without the bias, as it was published."""
        weight = self.network.fc.weight.detach().cpu().double()
        return replace(features, values=features.double @ weight.T, extractor=replace(self.id, name=f"{NAME}, logits"))


class Network(nn.Module):
    """(B, 3, 299, 299) in [-1, 1] to (B, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Unit(32, 32, 3)
        self.Conv2d_2b_3x3 = Unit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = Unit(64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(80, 192, 3)
        self.Mixed_5b = Mixed(192, FIVE, AVERAGE, pooled=32)
        self.Mixed_5c = Mixed(256, FIVE, AVERAGE, pooled=64)
        self.Mixed_5d = Mixed(288, FIVE, AVERAGE, pooled=64)
        self.Mixed_6a = Mixed(288, TO_SIX, HALVE)
        self.Mixed_6b = Mixed(768, _six(128), AVERAGE, pooled=192)
        self.Mixed_6c = Mixed(768, _six(160), AVERAGE, pooled=192)
        self.Mixed_6d = Mixed(768, _six(160), AVERAGE, pooled=192)
        self.Mixed_6e = Mixed(768, _six(192), AVERAGE, pooled=192)
        self.Mixed_7a = Mixed(768, TO_SEVEN, HALVE)
        self.Mixed_7b = Mixed(1280, SEVEN, AVERAGE, pooled=192)
        self.Mixed_7c = Mixed(2048, SEVEN, LARGEST, pooled=192)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (B, 64, 147, 147)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(HALVE(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(HALVE(x))))  # (B, 288, 35, 35)
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))  # (B, 768, 17, 17)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (B, 2048, 8, 8)
        return x.mean((2, 3))


class Unit(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self, into: int, out: int, kernel: int | tuple[int, int], *, stride: int = 1, padding: int | tuple[int, int] = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Chains of units and a pool side by side. Where the pool halves, so does the last unit of each chain."""

    def __init__(self, into: int, chains: Sequence[Chain], pool: Pool, *, pooled: int = 0) -> None:
        super().__init__()
        self.pool = pool
        self.chains = [self._build(into, chain) for chain in chains]
        self.branch_pool = Unit(into, pooled, 1) if pooled else nn.Identity()

    def _build(self, width: int, chain: Chain) -> list[tuple[str, ...]]:
        """Makes the units of a chain, and returns their names."""
        names = []
        for place, layers in enumerate(chain):
            pair: tuple[Layer, ...] = layers if isinstance(layers[0], tuple) else (layers,)
            halves = self.pool is HALVE and place == len(chain) - 1
            for name, out, kernel in pair:
                rows, columns = kernel if isinstance(kernel, tuple) else (kernel, kernel)
                size = {"stride": 2} if halves else {"padding": (rows // 2, columns // 2)}
                self.add_module(name, Unit(width, out, kernel, **size))
            names.append(tuple(name for name, _, _ in pair))
            width = pair[0][1]
        return names

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*(self._run(names, x) for names in self.chains), self.branch_pool(self.pool(x))], dim=1)

    def _run(self, chain: list[tuple[str, ...]], x: Tensor) -> Tensor:
        for names in chain:
            x = torch.cat([self.get_submodule(name)(x) for name in names], dim=1)
        return x


# ---------------------------------------------------------------------------------------------------
# The blocks, by the size of their pictures: 5 is 35 x 35, 6 is 17 x 17, 7 is 8 x 8.


FIVE: Sequence[Chain] = (
    [("branch1x1", 64, 1)],
    [("branch5x5_1", 48, 1), ("branch5x5_2", 64, 5)],
    [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)],
)

TO_SIX: Sequence[Chain] = (
    [("branch3x3", 384, 3)],
    [("branch3x3dbl_1", 64, 1), ("branch3x3dbl_2", 96, 3), ("branch3x3dbl_3", 96, 3)],
)


def _six(width: int) -> Sequence[Chain]:
    row, column = (1, 7), (7, 1)
    return (
        [("branch1x1", 192, 1)],
        [("branch7x7_1", width, 1), ("branch7x7_2", width, row), ("branch7x7_3", 192, column)],
        [
            ("branch7x7dbl_1", width, 1), ("branch7x7dbl_2", width, column), ("branch7x7dbl_3", width, row),
            ("branch7x7dbl_4", width, column), ("branch7x7dbl_5", 192, row),
        ],
    )  # fmt: skip


TO_SEVEN: Sequence[Chain] = (
    [("branch3x3_1", 192, 1), ("branch3x3_2", 320, 3)],
    [
        ("branch7x7x3_1", 192, 1), ("branch7x7x3_2", 192, (1, 7)), ("branch7x7x3_3", 192, (7, 1)),
        ("branch7x7x3_4", 192, 3),
    ],
)  # fmt: skip

SEVEN: Sequence[Chain] = (
    [("branch1x1", 320, 1)],
    [("branch3x3_1", 384, 1), (("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1)))],
    [
        ("branch3x3dbl_1", 448, 1), ("branch3x3dbl_2", 384, 3),
        (("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))),
    ],
)  # fmt: skip
