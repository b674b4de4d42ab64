"""Looking at a run: losses on pictures it does not train on, and pictures of its own. Neither changes it."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence, Sized
from pathlib import Path

import torch
from torch import Tensor

from limner import drawing
from limner.core import Batch, Request, Source
from limner.train import grid
from limner.train.state import State

log = logging.getLogger(__name__)


def validate(state: State, source: Source) -> dict[str, dict[str, float]]:
    """The losses of each step that has begun, with the averaged weights, over the same images and noise every time."""
    train = state.recipe.train
    count = within_an_epoch(train.validation_images, source)
    generator = torch.Generator().manual_seed(train.seed)
    sums: dict[str, dict[str, float]] = {updater.step.name: defaultdict(float) for updater in state.begun}
    with state.resting():
        for start in range(0, count, train.batch):
            end = min(start + train.batch, count)
            batch = Batch.of([source[index] for index in range(start, end)]).to(state.device)
            for updater in state.begun:
                with state.precision.autocast():
                    losses = updater.step.loss(batch, generator)
                for name, value in losses.items():
                    sums[updater.step.name][name] += value.item() * len(batch) / count
    return {name: dict(one) for name, one in sums.items()}


def within_an_epoch(count: int, source: Source) -> int:
    """`count`, or the number of different examples where the source has fewer and says so."""
    return min(count, len(source)) if isinstance(source, Sized) else count


def draw(state: State, requests: Sequence[Request]) -> Tensor:
    """A grid (H, W, 3) uint8 of `requests`, drawn with the averaged weights."""
    with state.resting():
        return grid.pixels(drawing.draw(state.family, requests))


def keep_picture(pixels: Tensor, path: Path) -> Path | None:
    """None, and a warning, where the disk does not take it."""
    try:
        grid.save(pixels, path)
    except OSError as error:
        log.warning("%s could not be written (%s); training goes on", path, error.strerror or error)
        return None
    return path
