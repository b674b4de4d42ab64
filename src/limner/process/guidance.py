"""Classifier-free guidance: guided = uncond + s (cond - uncond); s = 1 is no guidance (Ho and Salimans 2022)."""

from __future__ import annotations

from torch import Tensor

from limner.process.rectified import spread_over


def guide(cond: Tensor, uncond: Tensor, scale: Tensor) -> Tensor:
    """Rows of `cond` and `uncond` (B, ...) with each row's own `scale` (B,)."""
    return uncond + spread_over(scale, cond) * (cond - uncond)
