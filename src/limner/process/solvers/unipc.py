"""UniPC of second order, with B2(h) (Zhao et al. 2023): each step is made twice.

The predictor is DPM-Solver++(2M)'s step; the corrector makes it again, from where it began, once the network has seen
where it led.
"""

from __future__ import annotations

import math

from torch import Tensor

from limner.process.diffusion import Level
from limner.process.solvers.dpmpp_2m import Past, predicted, relative
from limner.process.solvers.solver import Path, Solver, toward
from limner.process.spacings import InnerTimes


class UniPC(Solver):
    grid = InnerTimes()

    def solve(self) -> Path:
        past: Past = []
        x0 = (yield self.pairs[0][0]).x0
        for here, there in self.pairs:
            x, past = self.x, [(here, x0), *past[:1]]
            self.x = toward(x, predicted(past, there), here, there)
            if there.sigma > 0.0:
                x0 = (yield there).x0
                self.x = toward(x, corrected(past, x0, there), here, there)


def corrected(past: Past, x0: Tensor, here: Level) -> Tensor:
    """The mean x0 of the step that led here, whose time tau, from 0 to 1, counts by exp(h tau): on the parabola through
    the last three, or halfway between the last two."""
    (last, x0_last), *older = past
    if not older:
        return (x0_last + x0) / 2
    before, x0_before = older[0]
    h, tau_before = math.log(last.ratio / here.ratio), -relative(before, last, here)
    tau = -1.0 / math.expm1(-h) - 1.0 / h  # means over the step
    tau_squared = -1.0 / math.expm1(-h) - 2.0 / h * tau
    share = (tau - tau_squared) / (1.0 - tau_before)
    return x0_last + share / tau_before * (x0_before - x0_last) + (tau - share) * (x0 - x0_last)
