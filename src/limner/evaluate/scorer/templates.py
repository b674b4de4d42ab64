"""Everything that captions can name, as templates to compare with: built once in a process, at its first use."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.data.scenes.artwork import Artwork, Thing
from limner.evaluate.scorer.evidence import blurred, of_templates

FINE, COARSE = 32, 16
BLURS = (0.0, 0.7, 1.4)  # in fine cells: a picture's lack of sharpness must not decide what it shows


class Templates:
    """The emoji of the captions' vocabulary, then the shapes. `coarse` is (K, 9 * 16 * 16), see `evidence`."""

    def __init__(self, pack: Artwork) -> None:
        self._pack = pack
        self.things: tuple[Thing, ...] = pack.emoji + pack.shapes
        self.row = {thing.index: number for number, thing in enumerate(self.things)}
        fine = torch.stack([self._template(thing, FINE) for thing in self.things])
        self._fine = [blurred(fine, blur).half() for blur in BLURS]
        self.coarse = of_templates(torch.nn.functional.avg_pool2d(fine, FINE // COARSE)).flatten(1)

    def named(self, index: int) -> Thing:
        """Thing number `index` of the artwork."""
        return self.things[self.row[index]]

    def fine(self, rows: Tensor) -> Tensor:
        """(blurs, n, 9 * 32 * 32) for some of the things, sharp and blurred."""
        return torch.stack([of_templates(level[rows].float()).flatten(1) for level in self._fine])

    def sized(self, thing: Thing, side: int) -> Tensor:
        """(4, side, side): premultiplied colour and opacity in [0, 1]."""
        return self._template(thing, side)

    def _template(self, thing: Thing, side: int) -> Tensor:
        return premultiplied(self._pack.picture(thing.index, side))


def premultiplied(picture: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div_(255)
    pixels[:3] *= pixels[3]
    return pixels


@lru_cache(1)
def templates() -> Templates:
    """Those of the shipped artwork, which take some seconds to build; sizes that come once are not kept."""
    return Templates(Artwork(decoded=256, resized=256))
