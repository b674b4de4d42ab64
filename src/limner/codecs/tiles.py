"""A codec over pictures too large to hold: by tiles that overlap, each fading into the next.

A tile is coded as if it were a picture, and norms then know it alone. So this comes near to coding the whole, and is
not the same: a tile's tone may differ from its neighbour's by a shade, which the overlap makes a slow change.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor


def tiled(
    code: Callable[[Tensor], Tensor], x: Tensor, *, side: int, overlap: int, reads: int = 1, writes: int = 1
) -> Tensor:
    """`code` over tiles of x (B, C, h, w), in latents of `reads` numbers a side in x, `writes` in the result.

    A tile is `side` latents or less, and shares `overlap` or more of them with the next. The result has x's dtype.
    """
    height, width = (size // reads for size in x.shape[2:])
    total, weights = [], torch.zeros(height * writes, width * writes, device=x.device)
    for top, left in itertools.product(starts(height, side, overlap), starts(width, side, overlap)):
        read, written = (
            (slice(top * one, (top + side) * one), slice(left * one, (left + side) * one)) for one in (reads, writes)
        )
        tile = code(x[:, :, *read]).float()
        fading = torch.outer(*(fade(size, overlap * writes, like=weights) for size in tile.shape[2:]))
        total = total or [tile.new_zeros(*tile.shape[:2], *weights.shape)]
        total[0][:, :, *written] += fading * tile
        weights[written] += fading
    return (total[0] / weights).to(x.dtype)


def starts(size: int, side: int, overlap: int) -> list[int]:
    """Where tiles begin: as few as do, evenly, the last one ending with the map."""
    count = max(-(-(size - overlap) // (side - overlap)), 1)
    return [round(number * max(size - side, 0) / max(count - 1, 1)) for number in range(count)]


def fade(size: int, overlap: int, *, like: Tensor) -> Tensor:
    """How much a tile has to say along one of its sides, (size,): from little to 1 over `overlap`, and back."""
    place = torch.arange(size, device=like.device)
    return (torch.minimum(place, size - 1 - place) + 1).clamp(max=overlap) / overlap
