"""DRAW's attention (Gregor et al. 2015): a square grid of Gaussian filters by which a picture is read and written.

B batch, C channels, H rows, W columns of pixels, N x N cells of the window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NUMBERS = 5  # that say where a window lies: g_x, g_y, log delta, log sigma^2, log gamma
LEAST = 1e-4  # added to each filter's sum: one that lies far outside of the picture sees nothing


@dataclass(frozen=True, slots=True)
class Window:
    """`rows` (B, N, H) and `columns` (B, N, W) are the filters F_y and F_x, each of sum 1; `gain` (B,) is gamma."""

    rows: Tensor
    columns: Tensor
    gain: Tensor

    @staticmethod
    def at(numbers: Tensor, *, cells: int, height: int, width: int) -> Window:
        """The window that (B, 5) numbers mean: all zeros are one over the whole picture (equations 21 to 26).

        The centre is (W + 1) / 2 (g_x + 1), so that -1 and 1 are the edges and pixels are counted from 1; delta, the
        distance of cells, is (max(H, W) - 1) / (N - 1) exp(log delta).
        """
        g_x, g_y, log_delta, log_variance, log_gain = numbers.float().unbind(dim=1)
        delta = (max(height, width) - 1) / (cells - 1) * log_delta.exp()
        sigma = (0.5 * log_variance).exp()
        rows = filters((height + 1) / 2 * (g_y + 1), delta, sigma, cells=cells, pixels=height)
        columns = filters((width + 1) / 2 * (g_x + 1), delta, sigma, cells=cells, pixels=width)
        return Window(rows, columns, log_gain.exp())

    def read(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, N, N): gamma F_y x F_x^T."""
        return self.gain[:, None, None, None] * (self.rows[:, None] @ x @ self.columns[:, None].mT)

    def write(self, cells: Tensor) -> Tensor:
        """(B, C, N, N) to (B, C, H, W): F_y^T w F_x / gamma."""
        return self.rows[:, None].mT @ (cells / self.gain[:, None, None, None]) @ self.columns[:, None]


def filters(centre: Tensor, delta: Tensor, sigma: Tensor, *, cells: int, pixels: int) -> Tensor:
    """(B, N, pixels): filter i is a Gaussian around mu_i = centre + (i - N / 2 - 0.5) delta, i and pixels from 1."""
    place = torch.arange(1, cells + 1, device=centre.device) - cells / 2 - 0.5
    mu = centre[:, None] + place * delta[:, None]  # (B, N)
    pixel = torch.arange(1, pixels + 1, device=centre.device)
    away = (pixel - mu[..., None]) / sigma[:, None, None]
    heights = torch.exp(-0.5 * away.square())
    return heights / (heights.sum(dim=-1, keepdim=True) + LEAST)
