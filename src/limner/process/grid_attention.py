"""Who sees whom among the tokens of a picture that is drawn in raster order (Ramesh et al. 2021, appendix B.1).

S tokens a side, N = S * S tokens; a mask (N, N) is True where the row's token sees the column's. Every token sees
itself, and none sees a later one.
"""

from __future__ import annotations

import torch
from torch import Tensor


def row(side: int) -> Tensor:
    """The last S + 1 tokens, itself counted: the farthest is the one straight above."""
    back = _back(side)
    return (back >= 0) & (back <= side)


def column(side: int) -> Tensor:
    """Itself and all above it in its column."""
    back = _back(side)
    return (back >= 0) & (back % side == 0)


def convolution(side: int, kernel: int) -> Tensor:
    """The part of a `kernel` x `kernel` neighbourhood that is already drawn.

    Neighbours are counted in raster order, so that at an edge they wrap round into the next row, as `row` does.
    """
    back, reach = _back(side), kernel // 2
    seen = torch.zeros_like(back, dtype=torch.bool)
    for rows in range(reach + 1):
        seen |= (back - rows * side).abs() <= reach
    return seen & (back >= 0)


def kinds(depth: int) -> list[str]:
    """The pattern of each of `depth` layers in the paper's order: columns in the second of each four, rows else, and
    the convolution last."""
    inner = ["column" if layer % 4 == 2 else "row" for layer in range(1, depth)]
    return [*inner, "convolution"]


def after_text(grid: Tensor, length: int) -> Tensor:
    """(N, N) to (L + N, L + N), `length` = L tokens of text before the picture's: text sees the text before it, the
    picture sees all of it."""
    total = length + len(grid)
    mask = torch.ones(total, total, dtype=torch.bool).tril()
    mask[length:, length:] = grid
    return mask


def neighbours(grid: Tensor) -> tuple[Tensor, Tensor]:
    """The same as a list: `places` (N, M), what each token sees, and `there` (N, M), False where that is padding."""
    most = int(grid.sum(dim=1).max())
    order = grid.int().sort(dim=1, descending=True, stable=True)
    there = order.values[:, :most].bool()
    return order.indices[:, :most].masked_fill(~there, 0), there


def _back(side: int) -> Tensor:
    """How many tokens back in raster order, (N, N)."""
    order = torch.arange(side * side)
    return order[:, None] - order
