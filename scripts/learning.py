"""What the studies of docs/families share: a network that learns for so many batches, and a sheet of pictures."""

from __future__ import annotations

import copy
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from limner.pipeline import to_pil

LABEL, GAP = 130, 16
TELL = 250  # steps
Network = TypeVar("Network", bound=nn.Module)
Batch = TypeVar("Batch")


def learnt(network: Network, batches: Iterable[Batch], loss: Callable[[Batch], Tensor], *, steps: int, rate: float,
           average: float = 0.99, most: float = math.inf) -> Network:  # fmt: skip
    """`network` after AdamW's steps on the loss of each batch, as the average of its weights, to be used alone.

    The norm of gradients is at most `most`. Now and then the mean loss is told.
    """
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(average))
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.0)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.05)
    losses: list[float] = []
    for batch in batches:
        found = loss(batch)
        found.backward()
        nn.utils.clip_grad_norm_(network.parameters(), most)
        optimiser.step()
        optimiser.zero_grad()
        rates.step()
        averaged.update_parameters(network)
        losses.append(found.item())
        if len(losses) % TELL == 0 or len(losses) == steps:
            print(f"step {len(losses)} of {steps}: loss {statistics.fmean(losses[-TELL:]):.3f}", file=sys.stderr)
    made = copy.deepcopy(network)
    made.load_state_dict(averaged.module.state_dict())
    return made.eval().requires_grad_(False)


def sheet(rows: Sequence[tuple[str, Sequence[Tensor]]], *, side: int, first: int = 0) -> Image.Image:
    """Rows of pictures (3, h, w) behind their names, each `side` pixels wide, with a gap behind the first ones."""
    most = max(len(pictures) for _, pictures in rows)
    made = Image.new("RGB", (LABEL + most * side + (GAP if first else 0), len(rows) * side), "white")
    for row, (name, pictures) in enumerate(rows):
        ImageDraw.Draw(made).text((4, row * side + side // 2 - 6), name, fill="black", font_size=15)
        for column, picture in enumerate(pictures):
            tile = to_pil(picture).resize((side, side), Image.Resampling.NEAREST)
            made.paste(tile, (LABEL + column * side + (GAP if first and column >= first else 0), row * side))
    return made
