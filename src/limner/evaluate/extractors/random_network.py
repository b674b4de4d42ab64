"""Convolutions with random weights that never change: an extractor for everybody who has no file (evaluation offline).

Random filters keep enough of textures and shapes to tell sets of pictures apart, and know nothing of what they show.
Numbers are comparable with those of the same hash only.
"""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.evaluate.features import ExtractorId

SIDE = 64
WIDTHS = (3, 32, 64, 128)


class RandomNetwork:
    """Three 3 x 3 convolutions of stride 2 with ReLU, at 64 x 64; the mean of each channel of each: (B, 224)."""

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.kernels = [
            torch.randn(out, into, 3, 3, generator=generator) * math.sqrt(2 / (9 * into))  # He et al., 2015
            for into, out in pairwise(WIDTHS)
        ]
        digest = hashlib.sha256(b"".join(kernel.numpy().tobytes() for kernel in self.kernels)).hexdigest()
        self.id = ExtractorId(f"random convolutions, seed {seed}", digest, "antialiased bilinear")

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        x = F.interpolate(images.float(), (SIDE, SIDE), mode="bilinear", antialias=True)
        means = []
        for kernel in self.kernels:
            x = F.relu(F.conv2d(x, kernel.to(x.device), stride=2, padding=1))
            means.append(x.mean((2, 3)))
        return torch.cat(means, dim=1)
