"""DPM-Solver++(S) with new noise, k-diffusion's DPM++ SDE (Lu et al. 2022, algorithm 1): second order by a call of the
network in the middle of each step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from limner.process.diffusion import Level
from limner.process.solvers.solver import Path, Solver, renewing, toward
from limner.process.spacings import AnyTimes


class DPMppSDE(Solver):
    grid = AnyTimes()
    usual_eta = 1.0

    @staticmethod
    def count(steps: int) -> int:
        return 2 * steps - 1

    def solve(self) -> Path:
        for here, there in self.pairs:
            x0 = (yield here).x0
            x = self.x
            if there.sigma == 0.0:
                self.x = x0
                return
            middle = self.between(here, there)
            half, whole = self.brownian(here, middle, there)
            self.x = self.step(x, x0, here, middle, half)
            x0 = (yield middle).x0
            self.x = self.step(x, x0, here, there, whole)

    def between(self, here: Level, there: Level) -> Level:
        """Half the way in the log of the ratio."""
        ratio = math.sqrt(here.ratio * there.ratio)
        return Level.of(ratio, t=float(self.schedule.time_of(torch.tensor([ratio], dtype=torch.float64))))

    def brownian(self, here: Level, middle: Level, there: Level) -> tuple[Tensor, Tensor]:
        """Noise of variance 1 for half the step and for all of it: of one path, whose variance grows with the ratio."""
        share = (here.ratio - middle.ratio) / (here.ratio - there.ratio)
        first, second = self.noise(), self.noise()
        return first, math.sqrt(share) * first + math.sqrt(1.0 - share) * second

    def step(self, x: Tensor, x0: Tensor, here: Level, there: Level, noise: Tensor) -> Tensor:
        less, new = renewing(here, there, self.eta)
        return toward(x, x0, here, less) + new * noise
