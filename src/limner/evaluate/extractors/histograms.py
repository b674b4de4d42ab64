"""Which colours a picture has, and which way its edges run; not where."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limner.evaluate.features import ExtractorId

SHADES, DIRECTIONS = 4, 8  # of each of three colours; of half a turn


class Histograms:
    """The shares of 4 x 4 x 4 colours, and the mean strength of edges in 8 directions: (B, 72)."""

    id = ExtractorId(f"histograms of {SHADES**3} colours and {DIRECTIONS} directions")

    def __call__(self, images: Tensor) -> Tensor:
        images = images.float()
        return torch.cat([_colours(images), _edges(images)], dim=1)


def _colours(images: Tensor) -> Tensor:
    shade = ((images + 1) / 2 * SHADES).long().clamp(0, SHADES - 1)
    red, green, blue = shade.flatten(2).unbind(1)
    return _summed((red * SHADES + green) * SHADES + blue, torch.ones_like(red).float(), SHADES**3)


def _edges(images: Tensor) -> Tensor:
    """A gradient and its opposite are one direction."""
    grey = images.mean(1)
    down = (grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]) / 2
    across = (grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]) / 2
    turn = torch.atan2(down, across) / math.pi % 1.0
    direction = (turn * DIRECTIONS).long().clamp(0, DIRECTIONS - 1)
    return _summed(direction.flatten(1), torch.hypot(down, across).flatten(1), DIRECTIONS)


def _summed(places: Tensor, weights: Tensor, bins: int) -> Tensor:
    """(B, bins): the mean over pixels of what falls into each bin."""
    found = torch.zeros(len(places), bins, device=places.device)
    return found.scatter_add_(1, places, weights) / max(places.shape[1], 1)
