"""Heun's method of second order (Karras et al. 2022, algorithm 1): a step along the mean of the slopes at its ends."""

from __future__ import annotations

from limner.process.solvers.solver import Path, Solver, along
from limner.process.spacings import AnyTimes


class Heun(Solver):
    grid = AnyTimes()

    @staticmethod
    def count(steps: int) -> int:
        return 2 * steps - 1

    def solve(self) -> Path:
        for here, there in self.pairs:
            first = yield here
            x = self.x
            self.x = along(x, first.eps, here, there)
            if there.sigma > 0.0:  # without noise there is no slope
                second = yield there
                self.x = along(x, (first.eps + second.eps) / 2, here, there)
