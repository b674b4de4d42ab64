"""DPM-Solver++(2M) and its stochastic variant (Lu et al. 2022, algorithm 2 and equation 18): of second order by the
picture that was seen in the step before. Steps are measured in h, by which the log of the ratio falls."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from limner.process.diffusion import Level
from limner.process.solvers.solver import Path, Solver
from limner.process.spacings import InnerTimes

Past = Sequence[tuple[Level, Tensor]]  # levels, and what x0 was there, the newest first


class DPMpp2M(Solver):
    grid = InnerTimes()

    def solve(self) -> Path:
        past: Past = []
        for here, there in self.pairs:
            past = [(here, (yield here).x0), *past[:1]]
            self.x = self.step(predicted(past, there), here, there)

    def step(self, x0: Tensor, here: Level, there: Level) -> Tensor:
        """Solves the SDE whose new noise is eta's share exactly where x0 stays what it is."""
        shrink = there.ratio / here.ratio  # exp(-h)
        keep = there.sigma / here.sigma * math.pow(shrink, self.eta)
        x = keep * self.x + there.alpha * (1.0 - math.pow(shrink, 1.0 + self.eta)) * x0
        new = there.sigma * math.sqrt(1.0 - math.pow(shrink, 2.0 * self.eta))
        if new > 0.0:
            x = x + new * self.noise()
        return x


class DPMpp2MSDE(DPMpp2M):
    usual_eta = 1.0


def predicted(past: Past, there: Level) -> Tensor:
    """x0 in the middle of the step that leads there, on the line through the last two. The last step, to data, is
    infinitely long: there it is the last one."""
    (here, x0), *older = past
    if not older or there.sigma == 0.0:
        return x0
    before, x0_before = older[0]
    return x0 + 0.5 / relative(before, here, there) * (x0 - x0_before)


def relative(before: Level, here: Level, there: Level) -> float:
    """The length of the step before in that of this one."""
    return math.log(before.ratio / here.ratio) / math.log(here.ratio / there.ratio)
