"""Sampling of a latent consistency model (Luo et al. 2023, algorithm 3): jump to data, put new noise in, jump again."""

from __future__ import annotations

import math

from torch import Tensor

from limner.process.solvers.solver import Path, Seen, Solver
from limner.process.spacings import DistilledTimes

SPREAD = 0.5  # sigma_data of the boundary condition: at time 0 the model is the identity
SCALING = 10.0  # of times there


class LCM(Solver):
    grid = DistilledTimes()

    def solve(self) -> Path:
        for here, there in self.pairs:
            seen = yield here
            self.x = self.x0 = self.jump(seen, here.t)
            if there.sigma > 0.0:
                self.x = there.mix(self.x0, self.noise())

    def jump(self, seen: Seen, t: float) -> Tensor:
        length = math.hypot(SCALING * t, SPREAD)
        return (SPREAD / length) ** 2 * self.x + SCALING * t / length * seen.x0
