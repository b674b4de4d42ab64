"""Convolutions of 3 x 3 by a quarter of the multiplications (Winograd 1980; Lavin and Gray 2015, F(4 x 4, 3 x 3)).

A tile of 4 x 4 results comes from 6 x 6 inputs. Seen from the points 0, 1, -1, 2, -2 and infinity, each of its 36
numbers is an input's number times a weight's, summed over channels: 36 products where 144 are usual. That costs one
digit: in float32 five are right, in half precision one would be.

B batch, C channels, O of the result, T tiles; k runs over the 36.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

TILE = 4  # results a side; inputs have two more
MOST = 1 << 24  # numbers of tiles at once, 64 MiB
FEWEST_TILES = 32  # fewer do not pay for the transformed weights
FEWEST_CHANNELS = 32  # in and out; fewer do not pay for the transformed maps
READ = (
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
)  # fmt: skip
WEIGH = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))  # of 24
WRITE = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether it is exact enough and faster on a CPU, for maps like `x` and kernels (O, C, 3, 3)."""
    tiles = len(x) * x.shape[2] * x.shape[3] // TILE**2
    suits = x.dtype is torch.float32 and x.device.type == "cpu" and weight.shape[2:] == (3, 3)
    return suits and tiles >= FEWEST_TILES and min(weight.shape[:2]) >= FEWEST_CHANNELS


def order(weight: Tensor) -> Tensor:
    """Kernels (O, C, 3, 3) as `transform` takes them, (3, 3, C, O)."""
    return rearrange(weight, "O C i j -> i j C O").contiguous()


def transform(weight: Tensor) -> Tensor:
    """What `convolve` takes, (36, C, O), of ordered kernels: it is made fast, and takes four times the memory."""
    _, weigh, _ = _matrices(weight.device)
    return (weigh @ weight.view(9, -1)).view(36, *weight.shape[2:])


def convolve(x: Tensor, kernels: Tensor, bias: Tensor | None = None, *, padding: tuple[int, int] = (1, 1)) -> Tensor:
    """`F.conv2d` of x (B, C, h, w), which is best in channels_last and comes out in it, with transformed kernels."""
    height, width = (side - 2 + 2 * edge for side, edge in zip(x.shape[2:], padding, strict=True))
    down, across = -(-height // TILE), -(-width // TILE)
    padded = _padded(x, down, across, padding)
    out = x.new_empty(len(x), down * TILE, across * TILE, kernels.shape[2])
    step = max(MOST // (36 * len(x) * across * x.shape[1]), 1)
    for row in range(0, down, step):
        part = out[:, row * TILE : (row + step) * TILE].unflatten(2, (across, TILE)).unflatten(1, (-1, TILE))
        made = rearrange(_convolve(_tiles(padded, row, part.shape[1], across), kernels), "i j B y x O -> B y i x j O")
        if bias is None:
            part.copy_(made)
        else:
            torch.add(made, bias, out=part)
    return rearrange(out[:, :height, :width], "B h w O -> B O h w")


def _convolve(tiles: Tensor, kernels: Tensor) -> Tensor:
    """(6, 6, B, y, x, C) to (4, 4, B, y, x, O)."""
    read, _, write = _matrices(tiles.device)
    seen = (read @ tiles.view(36, -1)).view(36, -1, tiles.shape[-1])
    made = write @ torch.bmm(seen, kernels).view(36, -1)
    return made.view(TILE, TILE, *tiles.shape[2:5], -1)


def _padded(x: Tensor, down: int, across: int, padding: tuple[int, int]) -> Tensor:
    """(B, h, w, C), with zeros beyond the edges as far as tiles reach."""
    top, left = padding
    bottom, right = down * TILE + 2 - x.shape[2] - top, across * TILE + 2 - x.shape[3] - left
    return F.pad(rearrange(x, "B C h w -> B h w C"), (0, 0, left, right, top, bottom)).contiguous()


def _tiles(padded: Tensor, row: int, count: int, across: int) -> Tensor:
    """`count` rows of tiles with their surroundings, from `row` on, (6, 6, B, count, across, C)."""
    part = padded[:, row * TILE :]
    batch, down, right, _ = part.stride()
    size = (TILE + 2, TILE + 2, len(part), count, across, part.shape[3])
    strides = (down, right, batch, TILE * down, TILE * right, 1)
    return part.as_strided(size, strides, part.storage_offset()).contiguous()


@functools.cache
def _matrices(device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """To the 36 from inputs (36, 36) and from weights (36, 9), and from them to results (16, 36)."""
    read, weigh, write = (torch.tensor(one, dtype=torch.float64) for one in (READ, WEIGH, WRITE))
    both = [torch.kron(one, one) for one in (read, weigh / 24.0, write)]
    return both[0].float().to(device), both[1].float().to(device), both[2].float().to(device)
