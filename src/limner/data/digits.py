"""Digits with captions: one or two handwritten digits on 60 x 60 black pixels, said where (Mansimov et al. 2016).

The paper's data set, with the small digits that scikit-learn ships in MNIST's place, enlarged to MNIST's 20 x 20 ink
in 28 x 28. Number i of a split is a pure function of (seed, split, i). Certain digits never stand in certain places in
training; every picture of `unseen` has at least one of them there. `train` shows one half of each digit's drawings,
`seen` and `unseen` the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from limner.core import Example, InputError, check
from limner.data.dice import Dice

SIDE = 60
SPLITS = ("train", "seen", "unseen")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

TILE, INK, MARGIN = 28, 20, 4  # of an enlarged digit, as MNIST has them: margins may overlap, ink does not
PACK, CELL = Path(__file__).resolve().parents[1] / "assets" / "digits.png", 8
DARK, LIGHT = 60, 180  # what counts as paper and as ink where the enlarged strokes are made crisp again


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tile's upper left pixel may lie, and the digit that training never shows there."""

    rows: range
    columns: range
    withheld: int


MIDDLE = range(16, 19)
PLACES = {
    "left": Place(MIDDLE, range(5), 7),
    "right": Place(MIDDLE, range(28, 33), 3),
    "top": Place(range(3), MIDDLE, 2),
    "bottom": Place(range(30, 33), MIDDLE, 9),
    "top left": Place(range(3), range(5), 5),
    "top right": Place(range(3), range(28, 33), 8),
    "bottom left": Place(range(30, 33), range(5), 4),
    "bottom right": Place(range(30, 33), range(28, 33), 1),
}
# The paper's eight captions, and the places of the digits that each names, in its order.
TEMPLATES = {
    "the digit {} is on the left of the digit {}.": ("left", "right"),
    "the digit {} is on the right of the digit {}.": ("right", "left"),
    "the digit {} is at the top of the digit {}.": ("top", "bottom"),
    "the digit {} is at the bottom of the digit {}.": ("bottom", "top"),
    "the digit {} is at the top left of the image.": ("top left",),
    "the digit {} is at the bottom right of the image.": ("bottom right",),
    "the digit {} is at the top right of the image.": ("top right",),
    "the digit {} is at the bottom left of the image.": ("bottom left",),
}


@dataclass(frozen=True, slots=True)
class Placed:
    """One digit: `drawing` counts the pictures of it, `corner` is the row and column of its tile's upper left pixel."""

    digit: int
    place: str
    drawing: int
    corner: tuple[int, int]

    @property
    def withheld(self) -> bool:
        return PLACES[self.place].withheld == self.digit


@dataclass(frozen=True, slots=True)
class Composition:
    """What a picture shows, in the order in which its caption says it."""

    caption: str
    digits: tuple[Placed, ...]

    @property
    def unseen(self) -> bool:
        """Whether training never shows these digits in these places."""
        return any(one.withheld for one in self.digits)


class Digits:
    """A `core.Source`: `digits[i]` is an Example of (3, size, size) uint8, grey, and its caption."""

    def __init__(self, split: str = "train", *, seed: int = 0, size: int = SIDE) -> None:
        check(split in SPLITS, f'there is no split "{split}" of digits; there are {", ".join(SPLITS)}')
        check(1 <= size <= SIDE, f"digits are drawn on {SIDE} pixels: size = {size} is not within 1 and {SIDE}")
        self.split, self.seed, self.size = split, seed, size

    def __getitem__(self, index: int) -> Example:
        truth = self.truth(index)
        pixels = torch.from_numpy(np.array(self.render(truth)))
        return Example(pixels.expand(3, -1, -1).contiguous(), truth.caption)

    def truth(self, index: int) -> Composition:
        """What picture number `index` shows and says, without drawing it."""
        check(index >= 0, f"there is no picture number {index}; they are counted from 0")
        dice = Dice("digits", self.seed, self.split, index)
        template = dice.pick(tuple(TEMPLATES))  # before anything is refused, so that each is as frequent as the others
        while True:
            found = self._composition(template, dice)
            if found.unseen is (self.split == "unseen"):
                return found

    def _composition(self, template: str, dice: Dice) -> Composition:
        """Any digits in the template's places; two digits share the row or the column that their places share."""
        places = TEMPLATES[template]
        rows = {one: dice.pick(one) for one in dict.fromkeys(PLACES[place].rows for place in places)}
        columns = {one: dice.pick(one) for one in dict.fromkeys(PLACES[place].columns for place in places)}
        digits = tuple(
            Placed(digit, place, self._drawing(digit, dice), (rows[PLACES[place].rows], columns[PLACES[place].columns]))
            for place in places
            for digit in [dice.below(10)]
        )
        return Composition(template.format(*(NAMES[one.digit] for one in digits)), digits)

    def _drawing(self, digit: int, dice: Dice) -> int:
        return dice.pick(half(digit, training=self.split == "train"))

    def render(self, truth: Composition) -> Image.Image:
        """Grey, drawn on 60 x 60 pixels and area-averaged down to `size`."""
        canvas = Image.new("L", (SIDE, SIDE))
        for one in truth.digits:
            canvas.paste(tiles()[one.digit][one.drawing], one.corner[::-1])
        return canvas if self.size == SIDE else canvas.resize((self.size, self.size), Image.Resampling.BOX)


def half(digit: int, *, training: bool) -> range:
    """Which of a digit's drawings training shows: every second one, so that its 13 writers are on both sides."""
    return range(0 if training else 1, len(tiles()[digit]), 2)


@lru_cache(1)
def tiles() -> Sequence[Sequence[Image.Image]]:
    """All drawings of each digit, 28 x 28 and grey. Shared: do not write on them."""
    try:
        sheet = Image.open(PACK).convert("L")
    except OSError:
        raise InputError(f"{PACK}: the digits cannot be read; build them with scripts/build_digits.py") from None
    rows = [sheet.crop((0, CELL * digit, sheet.width, CELL * (digit + 1))) for digit in range(10)]
    return [[_tile(row, left) for left in range(0, (row.getbbox() or (0, 0, 0, 0))[2], CELL)] for row in rows]


def _tile(row: Image.Image, left: int) -> Image.Image:
    """Enlarged to twice the size, made crisp, and averaged down: a pen's stroke has an edge, and 8 pixels show none."""
    cell = row.crop((left, 0, left + CELL, CELL)).resize((2 * INK, 2 * INK), Image.Resampling.BICUBIC)
    ink = cell.point([round(255 * min(max((grey - DARK) / (LIGHT - DARK), 0.0), 1.0)) for grey in range(256)])
    tile = Image.new("L", (TILE, TILE))
    tile.paste(ink.resize((INK, INK), Image.Resampling.BOX), (MARGIN, MARGIN))
    return tile
