"""Reading digits back from a picture: which stand in the places that its caption names, and whether anything else does.

A place's tile is brought to its ink's centre and to unit length and compared with all drawings that training shows, by
kernel ridge regression: one linear system in closed form, no epochs and no chance. Its answer is about 1 for the digit
that a tile shows, and about 0 for all ten where the tile is unlike every drawing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from limner.core import InputError, check, unparse
from limner.data.digits import PLACES, SIDE, TILE, Composition, Digits, half, tiles
from limner.evaluate.table import Table, Tally
from limner.pipeline import Picture, Pipeline

BANDWIDTH = 0.5  # of the Gaussian kernel
RIDGE = 0.01
SLANTS = (-0.15, 0.0, 0.15)  # with which each drawing is known: people differ most in that
SURE = 0.4  # the least answer that is taken for a digit
FAINT = 0.1  # what is no brighter is paper: a model's paper is never quite black
STRAY = 0.1  # the largest share of the ink that may lie outside of the places
CELLS, STRIDE = 11, 2  # what is compared: 22 x 22 pixels around the ink's centre, averaged two by two

ROWS = {
    "digit": "each digit in its place",
    "one": "captions of one digit",
    "two": "captions of two digits",
    "caption": "all captions",
}


@dataclass(frozen=True, slots=True)
class Reading:
    """`read` answers the composition's digits one by one, None where no digit was read; `stray` is the share of the ink
    that lies in none of their places."""

    asked: Composition
    read: tuple[int | None, ...]
    stray: float

    @property
    def digits_right(self) -> tuple[bool, ...]:
        return tuple(read == one.digit for read, one in zip(self.read, self.asked.digits, strict=True))

    @property
    def right(self) -> bool:
        """Whether the picture shows the digits that were asked for, where they were, and no more."""
        return all(self.digits_right) and self.stray <= STRAY


class Judge:
    """A reader of single tiles, fitted to the drawings of the training half."""

    def __init__(self) -> None:
        drawings = [(digit, tiles()[digit][one]) for digit in range(10) for one in half(digit, training=True)]
        pictures = torch.stack([_ink(_grey(picture)) for _, picture in drawings])
        self._known = torch.cat([_features(_slanted(pictures, slant)) for slant in SLANTS])
        answers = F.one_hot(torch.tensor([digit for digit, _ in drawings] * len(SLANTS)), 10).double()
        kernel = _kernel(self._known, self._known)
        self._weights = torch.linalg.solve(kernel.diagonal_scatter(kernel.diagonal() + RIDGE), answers)

    def answers(self, pictures: Tensor) -> Tensor:
        """(N, 28, 28) in [0, 1] to (N, 10): how much each is like each digit, from about 0 to about 1."""
        answers: Tensor = _kernel(_features(pictures), self._known) @ self._weights
        return answers

    def read(self, pictures: Tensor) -> list[int | None]:
        best, digits = self.answers(pictures).max(dim=1)
        return [digit if sure > SURE else None for sure, digit in zip(best.tolist(), digits.tolist(), strict=True)]


@lru_cache(1)
def judge() -> Judge:
    return Judge()


def _features(pictures: Tensor) -> Tensor:
    """(N, 28, 28) to (N, 121) float64 of unit length: the picture around the centre of its ink, interpolated."""
    ink = pictures.double()
    along = torch.arange(TILE, dtype=torch.float64)
    mass = ink.sum((1, 2)).clamp_min(1e-6)
    row, column = ((ink.sum(dim) * along).sum(1) / mass for dim in (2, 1))
    spread = STRIDE * (torch.arange(CELLS) - CELLS // 2)
    blocks = F.avg_pool2d(F.pad(ink[:, None], (1, 1, 1, 1)), STRIDE, stride=1)[:, :, :TILE, :TILE]
    rows, columns = ((2 * (centre[:, None] + spread + 0.5) / (TILE - 1) - 1) for centre in (row, column))
    grid = torch.stack([columns[:, None].expand(-1, CELLS, -1), rows[:, :, None].expand(-1, -1, CELLS)], dim=-1)
    return F.normalize(F.grid_sample(blocks, grid, align_corners=True).flatten(1), eps=1e-6)


def _slanted(pictures: Tensor, slant: float) -> Tensor:
    """(N, 28, 28), each row moved sideways by `slant` times its distance from the middle."""
    turn = torch.tensor([[1.0, slant, 0.0], [0.0, 1.0, 0.0]]).expand(len(pictures), -1, -1)
    grid = F.affine_grid(turn, [len(pictures), 1, TILE, TILE], align_corners=False)
    return F.grid_sample(pictures[:, None], grid, align_corners=False)[:, 0]


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return torch.exp(-0.5 * torch.cdist(a, b).square() / BANDWIDTH**2)


# ---------------------------------------------------------------------------------------------------
# Whole pictures.


def score(pictures: Sequence[Tensor | Image.Image], truths: Sequence[Composition]) -> list[Reading]:
    """Read each picture, (3, H, W) in [-1, 1] or PIL, with its truth; other sizes are scaled to 60 x 60."""
    if len(pictures) != len(truths):
        raise InputError(f"there are {len(pictures)} pictures for {len(truths)} truths; give one truth for each")
    return [_read(_pixels(picture), truth) for picture, truth in zip(pictures, truths, strict=True)]


def _read(picture: Tensor, truth: Composition) -> Reading:
    corners = [_middle(one.place) for one in truth.digits]
    parts = [picture[row : row + TILE, column : column + TILE] for row, column in corners]
    outside = picture.clone()
    for row, column in corners:
        outside[row : row + TILE, column : column + TILE] = 0.0
    stray = float(outside.sum() / picture.sum().clamp_min(1e-6))
    return Reading(truth, tuple(judge().read(torch.stack(parts))), stray)


def _middle(place: str) -> tuple[int, int]:
    """The upper left pixel of a tile in the middle of where a place lets it lie."""
    rows, columns = PLACES[place].rows, PLACES[place].columns
    return rows[len(rows) // 2], columns[len(columns) // 2]


def _pixels(picture: Tensor | Image.Image) -> Tensor:
    """(60, 60) in [0, 1]: where there is ink, and how much."""
    if isinstance(picture, Image.Image):
        grey = _grey(picture)
    elif picture.ndim == 3 and picture.shape[0] == 3 and picture.is_floating_point():
        grey = picture.detach().float().cpu().clamp(-1, 1).add(1).div(2).mean(0)
    else:
        raise InputError(f"a picture is floats of (3, height, width), not {picture.dtype} of {tuple(picture.shape)}")
    if grey.shape != (SIDE, SIDE):
        grey = F.interpolate(grey[None, None], (SIDE, SIDE), mode="bicubic", antialias=True)[0, 0].clamp(0, 1)
    return _ink(grey)


def _ink(grey: Tensor) -> Tensor:
    """Brightness from 0 to 1 to ink from 0 to 1."""
    return (grey - FAINT).clamp_min(0.0) / (1.0 - FAINT)


def _grey(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture.convert("L"))).float() / 255


# ---------------------------------------------------------------------------------------------------
# A model's examination.


def examine(
    pipeline: Pipeline,
    *,
    split: str = "seen",
    prompts: int = 500,
    seed: int = 0,
    knobs: Mapping[str, Any] | None = None,
    watch: Callable[[Reading, Picture], object] = lambda reading, picture: None,
) -> Table:
    """Draw `prompts` captions of `split` and read the pictures; `watch` is shown each.

    The table's second and third column calibrate the judge: real pictures, of drawings that neither it nor the model
    has seen, with their own truths and with each other's.
    """
    check(prompts >= 2, f"prompts = {prompts}: captions are shuffled among 2 or more")
    typed = pipeline.knobs(knobs or {})
    digits = Digits(split, seed=seed)
    truths = [digits.truth(index) for index in range(prompts)]
    requests = pipeline.requests([truth.caption for truth in truths], seeds=seed, knobs=knobs or {})
    drawn = []
    for truth, picture in zip(truths, pipeline.stream(requests), strict=True):
        drawn += score([picture.image], [truth])
        watch(drawn[-1], picture)
    real = [digits.render(truth) for truth in truths]
    about = {
        "model": pipeline.name, "hash": pipeline.hash, "split": split, "prompts": prompts, "seed": seed,
        "knobs": unparse(typed),
    }  # fmt: skip
    calibration = tally(score(real, truths)), tally(score(real[1:] + real[:1], truths))
    return Table(tally(drawn), *calibration, about, ROWS)


def tally(readings: Sequence[Reading]) -> dict[str, Tally]:
    """By row, in the order of ROWS."""
    found = {row: Tally() for row in ROWS}
    for reading in readings:
        for right in reading.digits_right:
            found["digit"].add(right)
        found["one" if len(reading.read) == 1 else "two"].add(reading.right)
        found["caption"].add(reading.right)
    return found
