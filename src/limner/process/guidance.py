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


def rescale(guided: Tensor, cond: Tensor, phi: Tensor) -> Tensor:
    """Rows of `guided` (B, ...) brought towards the standard deviation of `cond`, by each row's own share `phi` (B,):
    strong guidance makes pictures too bright (Lin et al. 2023, section 3.4, where phi is 0.7)."""
    inner = tuple(range(1, guided.ndim))
    ratio = cond.std(dim=inner, keepdim=True) / guided.std(dim=inner, keepdim=True)
    return guided * torch.lerp(torch.ones_like(ratio), ratio, spread_over(phi, ratio))
