"""Solvers of the probability-flow ODE of rectified flow, by their prediction of x0. Pure functions of numbers.

Every row of a batch has its own time: pictures at different steps advance together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from limner.process.rectified import spread_over

Solver = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def euler(x: Tensor, x0: Tensor, x0_before: Tensor, t: Tensor, t_next: Tensor, t_before: Tensor) -> Tensor:
    """x at `t_next`: a straight step along v = (x - x0) / t. The arguments `_before` are not used."""
    share = spread_over(t_next / t, x)
    return share * x + (1.0 - share) * x0


def multistep(x: Tensor, x0: Tensor, x0_before: Tensor, t: Tensor, t_next: Tensor, t_before: Tensor) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): the x0 of the step before corrects this one to second order.

    In log-SNR the first step (from t = 1) and the last (to t = 0) are infinitely long: those are first
    order, that is Euler's. `t_before` is NaN where there was no step before.
    """
    log_snr, following, previous = _half_log_snr(t), _half_log_snr(t_next), _half_log_snr(t_before)
    ratio = (log_snr - previous) / (following - log_snr)
    second = torch.isfinite(ratio) & (ratio > 0)
    amount = torch.where(second, 0.5 / torch.where(second, ratio, 1.0), 0.0)
    corrected = x0 + spread_over(amount, x) * (x0 - x0_before)
    return euler(x, corrected, x0_before, t, t_next, t_before)


def _half_log_snr(t: Tensor) -> Tensor:
    return torch.log((1.0 - t) / t)


SOLVERS: dict[str, Solver] = {"euler": euler, "dpm++2m": multistep}
