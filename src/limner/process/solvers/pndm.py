"""Pseudo linear multistep, PLMS (Liu et al. 2022, "Pseudo numerical methods for diffusion models on manifolds").

Stable Diffusion's variant: no Runge-Kutta steps; the first step is made twice, the second time along the mean of
its ends. The outputs that are mixed are those of the network, whatever it predicts.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from limner.process.diffusion import Level, NoiseSchedule
from limner.process.solvers.solver import Path, Solver
from limner.process.spacings import WholeTimes

SHARES = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


class PNDM(Solver):
    grid = WholeTimes()

    @staticmethod
    def count(steps: int) -> int:
        return steps + 1 if steps > 1 else 1

    def end(self, schedule: NoiseSchedule) -> Level:
        """The cleanest that the network has seen in training, as Stable Diffusion has it, and not data."""
        return schedule.level(0)

    def solve(self) -> Path:
        outputs: list[Tensor] = []
        for here, there in self.pairs:
            output = (yield here).output
            x = self.x
            outputs = [output, *outputs][: len(SHARES)]
            self.x = self.step(mixed(outputs), here, there)
            if len(outputs) == 1 and self.calls > 1:
                again = (yield there).output
                self.x = x
                self.x = self.step((output + again) / 2, here, there)

    def step(self, output: Tensor, here: Level, there: Level) -> Tensor:
        seen = self.read(output, here)
        return there.mix(seen.x0, seen.eps)


def mixed(outputs: Sequence[Tensor]) -> Tensor:
    """The newest first."""
    total = sum(share * one for share, one in zip(SHARES[len(outputs) - 1], outputs, strict=True))
    assert isinstance(total, Tensor)
    return total
