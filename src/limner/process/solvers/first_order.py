"""DDPM (Ho et al. 2020), DDIM (Song et al. 2021) and Euler's methods (Karras et al. 2022) are one step, equation 12 of
DDIM's paper. They differ in where the calls lie, where the last step leads, and how much noise is new."""

from __future__ import annotations

from limner.process.diffusion import Level, NoiseSchedule
from limner.process.solvers.solver import Path, Solver, renewing, toward
from limner.process.spacings import AnyTimes, WholeTimes


class FirstOrder(Solver):
    def solve(self) -> Path:
        for here, there in self.pairs:
            seen = yield here
            less, new = renewing(here, there, self.eta)
            self.x = toward(self.x, seen.x0, here, less)
            if new > 0.0:
                self.x = self.x + new * self.noise()


class DDPM(FirstOrder):
    grid = WholeTimes()
    usual_eta = 1.0


class DDIM(FirstOrder):
    grid = WholeTimes()
    usual_eta = 0.0

    def end(self, schedule: NoiseSchedule) -> Level:
        """The cleanest that the network has seen in training, as Stable Diffusion has it, and not data."""
        return schedule.level(0)


class Euler(FirstOrder):
    grid = AnyTimes()


class EulerAncestral(FirstOrder):
    grid = AnyTimes()
    usual_eta = 1.0
