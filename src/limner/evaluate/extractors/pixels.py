"""The pixels themselves, averaged over cells: blind to what they show, and the same everywhere."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from limner.core import check
from limner.evaluate.features import ExtractorId


class Pixels:
    """Mean colours of `side` x `side` cells, (B, 3 * side * side) in [-1, 1]; 8 and 16 are usual."""

    def __init__(self, side: int = 8) -> None:
        check(side >= 1, f"side = {side}: there is 1 cell or more")
        self.side = side
        self.id = ExtractorId(f"pixels {side} x {side}", resize="mean of cells")

    def __call__(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images.float(), self.side).flatten(1)
