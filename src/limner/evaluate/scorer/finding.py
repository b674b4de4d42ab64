"""Where in a picture a thing is, if it is anywhere: the windows of the largest worth, over all places and sizes.

The worth of a window is its gain times its fit. By gain alone, one large window with a little of everything in it
would be preferred to the thing itself; by fit alone, any part of the thing would do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from limner.data.scenes.artwork import Thing
from limner.evaluate.scorer.evidence import PLANES, Window, blurred, of_templates
from limner.evaluate.scorer.layers import Layer, Layers
from limner.evaluate.scorer.templates import templates

SIDE, GRID = 128, 64
CELL = SIDE // GRID
BLUR = 1.0  # in cells, of picture and template: fine stripes must not miss each other by one pixel
MARGIN = 3  # cells around a template that its blur reaches
PADDED = 72  # at least GRID + 2 * MARGIN, and quick to transform
SIZES = (12, 13, 14, 15, 16, 17, 18, 20, 22, 24, 26, 28, 31, 34, 37, 40, 44, 48, 52, 56, 60)  # in cells
LIKE = (0.7, 1.4)  # sizes of several of one thing, in parts of the best one's


@dataclass(frozen=True, slots=True)
class Match:
    """`fit` is the gain's part of what there is to explain: 1 the thing exactly, 0 or less no more than the ground."""

    window: Window
    worth: float
    fit: float


def matches(layers: Layers, thing: Thing, most: int, behind: Sequence[Layer] = ()) -> list[Match]:
    """The best windows that are not nearly the same, at most `most`, the best first, for a thing over `behind`."""
    return _best(*_volumes(layers.evidence(behind, blur=BLUR * CELL), thing), most, _same)


def herd(layers: Layers, thing: Thing, expected: int, most: int) -> list[Match]:
    """The best windows that lie apart, of about the size at which `expected` of them are worth most together."""
    worth, fit = _volumes(layers.evidence(blur=BLUR * CELL), thing)
    sets = [_best(_only(worth, [size]), fit, expected, _touching) for size in range(len(SIZES))]
    best = SIZES[int(np.argmax([sum(max(one.worth, 0.0) for one in found) for found in sets]))]
    alike = [number for number, size in enumerate(SIZES) if LIKE[0] * best <= size <= LIKE[1] * best]
    return _best(_only(worth, alike), fit, most, _touching)


def _only(worth: Tensor, sizes: list[int]) -> Tensor:
    kept = torch.full_like(worth, -torch.inf)
    kept[sizes] = worth[sizes]
    return kept


def _best(worth: Tensor, fit: Tensor, most: int, taken: Callable[[Window], Tensor]) -> list[Match]:
    """The windows of most worth, one by one. `taken` says how far one rules out the others, of which 1 is all."""
    found: list[Match] = []
    free, ruled_out = worth.clone(), torch.zeros_like(worth)
    while len(found) < most:
        place = int(free.argmax())
        if not torch.isfinite(free.view(-1)[place]):
            break
        size, row, column = np.unravel_index(place, worth.shape)
        window = Window(float(column * CELL), float(row * CELL), float(SIZES[size] * CELL))
        found.append(Match(window, float(worth[size, row, column]), float(fit[size, row, column])))
        free.masked_fill_(ruled_out.add_(taken(window)) >= 1, -torch.inf)
    return found


def _same(window: Window) -> Tensor:
    """1 for windows that have half of the larger one's area in common."""
    common, side = _common(window)
    return (common > 0.5 * side.clamp_min(window.side).square()).float()


def _touching(window: Window) -> Tensor:
    """1 for windows that have a quarter of the smaller one's area in common; less adds up with others."""
    common, side = _common(window)
    return common / (0.25 * side.clamp_max(window.side).square())


def _common(window: Window) -> tuple[Tensor, Tensor]:
    """The area in common with every window, and their sides."""
    x, y, side = _geometry()
    across = (x + side).clamp_max(window.x + window.side) - x.clamp_min(window.x)
    down = (y + side).clamp_max(window.y + window.side) - y.clamp_min(window.y)
    common: Tensor = across.clamp_min_(0) * down.clamp_min_(0)
    return common, side


def _volumes(evidence: Tensor, thing: Thing) -> tuple[Tensor, Tensor]:
    """Worth and fit, (sizes, 64, 64) by upper left cell; the worth is -inf where a window leaves the picture."""
    stray = evidence[:3].square().sum(0, keepdim=True) / 4
    cells = torch.nn.functional.avg_pool2d(torch.cat([evidence, stray])[None], CELL)[0] * CELL**2
    padded = torch.nn.functional.pad(cells, (MARGIN, PADDED - GRID - MARGIN) * 2)
    product = torch.fft.rfft2(padded) * _kernels(thing.index)  # (sizes, 10, 72, 37)
    volumes = torch.stack([product[:, :PLANES].sum(1), -product[:, 4:PLANES].sum(1), product[:, PLANES]])
    gain, energy, covered = torch.fft.irfft2(volumes, s=(PADDED, PADDED))[..., :GRID, :GRID]
    fit = gain / torch.maximum(energy, covered).clamp_min_(1e-6)
    return torch.where(gain > 0, gain * fit, gain).masked_fill_(_outside(), -torch.inf), fit


@lru_cache(4)
def _kernels(index: int) -> Tensor:
    """(sizes, 10, 72, 37): spectra, conjugated, of the thing's features and of where it is at all."""
    bank = templates()
    stamps = torch.zeros(len(SIZES), 4, PADDED, PADDED)
    for stamp, size in zip(stamps, SIZES, strict=True):
        stamp[:, MARGIN : MARGIN + size, MARGIN : MARGIN + size] = bank.sized(bank.named(index), size)
    soft = blurred(stamps, BLUR)
    kernels = torch.cat([of_templates(soft), (soft[:, 3:] > 0.02).float()], 1)
    spectra: Tensor = torch.fft.rfft2(kernels)
    return spectra.conj().resolve_conj()


@lru_cache(1)
def _geometry() -> tuple[Tensor, Tensor, Tensor]:
    side = torch.tensor(SIZES).float()[:, None, None] * CELL
    along = torch.arange(GRID).float() * CELL
    return along[None, None, :], along[None, :, None], side


@lru_cache(1)
def _outside() -> Tensor:
    x, y, side = _geometry()
    return (x + side > SIDE) | (y + side > SIDE)
