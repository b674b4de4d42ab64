"""Reading the background: the nearest of all grounds that a caption can ask for, by the picture's edge first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from limner.data.scenes.grounds import NAMED, SHADES, VARIANTS, draw_ground
from limner.data.scenes.truth import Ground

SIDE, CELLS, RIM = 128, 32, 3
INNER_WEIGHT = 0.35  # of a cell that a thing may cover, where one at the rim counts 1
FAR = 0.8  # the distance, summed over the three colours, from which on a cell is taken to be a thing's
FADED = 0.05  # a gradient must be nearer than a plain ground by this: uneven paint is no gradient
STRANGE = 0.7  # where three in four rim cells are farther than this, the ground is none that we know


@dataclass(frozen=True, slots=True)
class Background:
    """`ground` is the one read, None if the picture has none that we know; `pixels` (3, 128, 128) what is behind."""

    ground: Ground | None
    pixels: Tensor


class Grounds:
    def __init__(self) -> None:
        self.all = _every_ground()
        self._cells, self._weights = _sampled()
        faded = torch.tensor([ground.name == "gradient" for ground in self.all])
        self._handicap = FADED * faded * self._weights.sum()
        self._colours = torch.stack([self._look(pixels(ground)) for ground in self.all])  # (G, 3, M)

    def read(self, picture: Tensor) -> Background:
        """The background of a (3, 128, 128) picture in [0, 1]."""
        distance = (self._colours - self._look(picture)).abs_().sum(1)  # (G, M)
        best = int((distance.clamp_max(FAR) @ self._weights + self._handicap).argmin())
        rim = distance[best][self._weights == 1]
        behind = pixels(self.all[best])
        known = rim.quantile(0.25) < STRANGE
        return Background(self.all[best] if known else None, _tinted(behind, picture))

    def _look(self, picture: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(picture[None], SIDE // CELLS)[0].flatten(1)[:, self._cells]


def pixels(ground: Ground) -> Tensor:
    """(3, 128, 128) in [0, 1]."""
    return torch.from_numpy(np.array(draw_ground(ground))).permute(2, 0, 1).float() / 255


def _tinted(ground: Tensor, picture: Tensor) -> Tensor:
    """The ground in the shade that the picture gives it: moved by the median difference where it shows."""
    difference = picture - ground
    shows = difference.abs().sum(0) < FAR / 2
    if shows.sum() < SIDE:
        return ground
    return (ground + difference[:, shows].median(1).values[:, None, None]).clamp(0, 1)


def _every_ground() -> tuple[Ground, ...]:
    plain = [Ground(colours=(shade,)) for shade in SHADES]
    named = [Ground(name, (), "", variant) for name in NAMED for variant in range(VARIANTS)]
    pairs = [(first, last) for first in SHADES for last in SHADES if first != last]
    fades = [Ground("gradient", pair, direction) for pair in pairs for direction in ("down", "across")]
    return (*plain, *named, *fades)


def _sampled() -> tuple[Tensor, Tensor]:
    """Which cells are looked at, all of the rim and a quarter of the others, and their weights."""
    along = torch.arange(CELLS)
    rim = torch.minimum(along, CELLS - 1 - along) < RIM
    edge = rim[:, None] | rim[None, :]
    quarter = (along % 2 == 0)[:, None] & (along % 2 == 0)[None, :]
    weights = torch.where(edge, 1.0, INNER_WEIGHT).flatten()
    cells = (edge | quarter).flatten().nonzero()[:, 0]
    return cells, weights[cells]


@lru_cache(1)
def grounds() -> Grounds:
    return Grounds()
