"""Classifier-free guidance: guided = uncond + s (cond - uncond); s = 1 is no guidance (Ho and Salimans 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from limner.process.rectified import spread_over


def drop(captions: Sequence[str], *, share: float, generator: Generator) -> list[str]:
    """Captions of which `share` is replaced by the empty one, so that a model learns to draw without a text too."""
    dropped = torch.rand(len(captions), generator=generator) < share
    return ["" if one else caption for one, caption in zip(dropped.tolist(), captions, strict=True)]


def guide(cond: Tensor, uncond: Tensor, scale: Tensor) -> Tensor:
    """Rows of `cond` and `uncond` (B, ...) with each row's own `scale` (B,)."""
    return uncond + spread_over(scale, cond) * (cond - uncond)
