"""A picture taken as layers: a ground, and things over it in drawing order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.data.scenes.artwork import Thing
from limner.evaluate.scorer.evidence import Window, blurred, of_picture
from limner.evaluate.scorer.templates import templates

Layer = tuple[Thing, Window]


@dataclass(frozen=True, slots=True)
class Layers:
    """`picture` and `ground` are (3, 128, 128) in [0, 1]."""

    picture: Tensor
    ground: Tensor

    def evidence(self, behind: Sequence[Layer] = (), front: Sequence[Layer] = (), *, blur: float = 0.0) -> Tensor:
        """What the picture, blurred by `blur` pixels, says of a thing that stands over `behind` and under `front`."""
        base, weight = self.ground, torch.ones_like(self.ground[0])
        for thing, window in behind:
            canvas = on_canvas(thing, window, weight.shape[0])
            base = canvas[:3] + (1 - canvas[3]) * base
        for thing, window in front:
            weight = weight * (1 - on_canvas(thing, window, weight.shape[0])[3])
        return of_picture(blurred(self.picture, blur), blurred(base, blur), weight)


def on_canvas(thing: Thing, window: Window, length: int) -> Tensor:
    """(4, H, W): the thing alone at a whole pixel, cut where it leaves the canvas."""
    side = max(round(window.side), 1)
    x, y = round(window.x), round(window.y)
    canvas = torch.zeros(4, length, length)
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, length), min(y + side, length)
    if left < right and top < bottom:
        canvas[:, top:bottom, left:right] = templates().sized(thing, side)[
            :, top - y : bottom - y, left - x : right - x
        ]
    return canvas
