"""How much better a picture is explained with a template on its ground than without: an inner product.

With a ground G, a template of premultiplied colour C and opacity a, and D = picture - G, the squared error
falls by  |D|^2 - |D - (C - aG)|^2 = 2 D.C - 2a D.G - |C|^2 + 2a C.G - a^2 |G|^2,  the *gain*. Each term is a
plane of the picture times a plane of the template, so that gains of all templates at all places are products
of matrices. Colours are in [0, 1], gains in squared colour times pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

PLANES = 9


def of_picture(picture: Tensor, ground: Tensor, weight: Tensor) -> Tensor:
    """(9, H, W) of a (3, H, W) picture on its ground; `weight` (H, W) is 0 where something else is in front."""
    difference = picture - ground
    crossed = (difference * ground).sum(0, keepdim=True)
    squared = ground.square().sum(0, keepdim=True)
    planes = [2 * difference, -2 * crossed, 2 * ground, -squared, -torch.ones_like(squared)]
    return torch.cat(planes) * weight


def of_templates(templates: Tensor) -> Tensor:
    """(..., 9, h, w) of (..., 4, h, w): premultiplied colour and opacity."""
    colour, opacity = templates[..., :3, :, :], templates[..., 3:, :, :]
    squared = colour.square().sum(-3, keepdim=True)
    return torch.cat([colour, opacity, colour * opacity, opacity.square(), squared], -3)


def blurred(planes: Tensor, sigma: float) -> Tensor:
    """(..., n, n) under a Gaussian, with the edges continued outwards."""
    if sigma == 0:
        return planes
    kernel = _gaussian(planes.shape[-1], sigma)
    return kernel @ planes @ kernel.T


@lru_cache(64)
def _gaussian(length: int, sigma: float) -> Tensor:
    """(length, length): what each place gathers from each, where a place outside counts for the nearest inside."""
    reach = math.ceil(3 * sigma)
    along = torch.arange(length)
    kernel = torch.zeros(length, length)
    for shift in range(-reach, reach + 1):
        weight = torch.full((length,), math.exp(-0.5 * (shift / sigma) ** 2))
        kernel.index_put_((along, (along + shift).clamp(0, length - 1)), weight, accumulate=True)
    return kernel / kernel.sum(1, keepdim=True)


@dataclass(frozen=True, slots=True)
class Window:
    """A square on the picture, in pixels: its left, its top, its side."""

    x: float
    y: float
    side: float

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.side / 2, self.y + self.side / 2


def nearby(window: Window, *, shifts: Sequence[float], scales: Sequence[float]) -> list[Window]:
    """The window with its centre shifted by parts of its side, and scaled: every combination."""
    x, y = window.centre
    return [
        Window(x + dx * window.side - side / 2, y + dy * window.side - side / 2, side)
        for side in (window.side * scale for scale in scales)
        for dx in shifts
        for dy in shifts
    ]


def cut(evidence: Tensor, windows: Sequence[Window], cells: int) -> Tensor:
    """(T, 9, cells, cells): each window's sums of evidence over cells; their product with a template is its gain."""
    height, width = evidence.shape[1:]
    columns, which_columns = _overlaps([(one.x, one.side) for one in windows], width, cells)
    rows, which_rows = _overlaps([(one.y, one.side) for one in windows], height, cells)
    (left, right), (top, bottom) = _touched(columns), _touched(rows)
    part = evidence[:, top:bottom, left:right]
    across = part @ columns[:, None, :, left:right].mT  # (X, 9, h, cells)
    return rows[which_rows][:, None, :, top:bottom] @ across[which_columns]


def _overlaps(spans: list[tuple[float, float]], length: int, cells: int) -> tuple[Tensor, Tensor]:
    """(X, cells, length) overlaps of cells with pixels for each different span, and which one each window has."""
    different = list(dict.fromkeys(spans))
    start, side = torch.tensor(different).T[:, :, None, None]
    cell = side / cells
    low = start + cell * torch.arange(cells)[None, :, None]
    pixel = torch.arange(length)
    overlap = (torch.minimum(low + cell, pixel + 1.0) - torch.maximum(low, pixel.float())).clamp_min_(0)
    place = {span: number for number, span in enumerate(different)}
    return overlap, torch.tensor([place[span] for span in spans])


def _touched(overlaps: Tensor) -> tuple[int, int]:
    """The first pixel that any cell touches, and the one after the last."""
    pixels = overlaps.sum((0, 1)).nonzero()[:, 0]
    return (int(pixels[0]), int(pixels[-1]) + 1) if len(pixels) else (0, 1)
