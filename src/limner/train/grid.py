"""Pictures on the way: the same prompts and seeds at intervals, in one file."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from limner.core import Family, Request, check, parse
from limner.store import atomic_write
from limner.train.recipe import Samples


def requests(family: Family, samples: Samples) -> list[Request]:
    """One for each prompt; InputError if a knob is unknown to the family, or it draws no pictures."""
    check(
        family.draws() or not samples.prompts, "samples.prompts: this family draws no pictures; leave the prompts out"
    )
    knobs: Any = parse(family.Knobs, samples.knobs, "samples.knobs")
    return [Request(prompt=prompt, seed=samples.seed + row, knobs=knobs) for row, prompt in enumerate(samples.prompts)]


def pixels(pictures: list[Tensor]) -> Tensor:
    """(3, H, W) in [-1, 1] each, to one (rows * H, columns * W, 3) uint8, about square."""
    columns = math.ceil(math.sqrt(len(pictures)))
    blank = torch.ones_like(pictures[0])
    filled = [*pictures, *[blank] * (-len(pictures) % columns)]
    stacked = torch.stack([one.detach().float().cpu() for one in filled])
    scaled = stacked.add(1.0).mul(127.5).round().clamp(0, 255).byte()
    return rearrange(scaled, "(rows columns) C H W -> (rows H) (columns W) C", columns=columns)


def save(grid: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    Image.fromarray(grid.numpy()).save(file, format="PNG")
    atomic_write(path, file.getvalue())
