"""Where on the way from noise to data a solver calls the network: spacings in time (Lin et al. 2023, table 2) or in
noise (Karras et al. 2022, equation 5), by the names that users know.

A grid is what one kind of solver makes of them: whether times are whole, and whether the last is left out. Each is
diffusers' for the same solver, computed by numpy as there, so that halves are rounded alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from limner.core import check
from limner.process.diffusion import Level, NoiseSchedule

OFFSET = 1  # of "leading": Stable Diffusion's last time is 1
CURVE = 7.0  # of "karras"
DISTILLED = 50  # times that a latent consistency model was taught to jump from


def leading(times: int, steps: int) -> Tensor:
    """Of `times` training times, (steps,) float64 from noise to data. Starts short of the noisiest."""
    return OFFSET + times // steps * torch.arange(steps - 1, -1, -1, dtype=torch.float64)


def linspace(times: int, steps: int) -> Tensor:
    """From the noisiest time to 0, both included."""
    return torch.from_numpy(np.linspace(0, times - 1, max(steps, 2))[::-1][:steps].copy())


def trailing(times: int, steps: int) -> Tensor:
    """Starts at the noisiest, and ends short of 0."""
    return torch.from_numpy(np.arange(times, 0, -times / steps)[:steps].round() - 1)


def karras(noisiest: float, cleanest: float, steps: int) -> Tensor:
    """Ratios (steps,) float64, even in their seventh root."""
    roots = torch.linspace(noisiest ** (1 / CURVE), cleanest ** (1 / CURVE), steps, dtype=torch.float64)
    return roots.pow(CURVE)


def exponential(noisiest: float, cleanest: float, steps: int) -> Tensor:
    """Ratios (steps,) float64, even in their logarithm."""
    return torch.linspace(math.log(noisiest), math.log(cleanest), steps, dtype=torch.float64).exp()


IN_TIME: dict[str, Callable[[int, int], Tensor]] = {"leading": leading, "linspace": linspace, "trailing": trailing}
IN_NOISE: dict[str, Callable[[float, float, int], Tensor]] = {"karras": karras, "exponential": exponential}


class Grid:
    """`spacings` that apply, of which `usual` is taken where none is asked for."""

    spacings: ClassVar[tuple[str, ...]] = (*IN_TIME, *IN_NOISE)
    usual: ClassVar[str] = "linspace"

    def most(self, schedule: NoiseSchedule) -> int:
        """Steps. One fewer than training times, as some grids begin one time later or leave one out."""
        return len(schedule) - 1

    def levels(self, schedule: NoiseSchedule, spacing: str, steps: int) -> list[Level]:
        """Where each step begins; InputError if there are too many of them."""
        most = self.most(schedule)
        check(1 <= steps <= most, f"steps = {steps} is not from 1 to {most}, all that this solver can take")
        if spacing in IN_TIME:
            return self.in_time(schedule, spacing, steps)
        ratios = IN_NOISE[spacing](float(schedule.ratios[-1]), float(schedule.ratios[0]), steps)
        return _levels(ratios, self.told(schedule.time_of(ratios)))

    def in_time(self, schedule: NoiseSchedule, spacing: str, steps: int) -> list[Level]:
        raise NotImplementedError

    def told(self, times: Tensor) -> Tensor:
        """What the network is told of times that lie between the training times."""
        return times

    def scale(self, spacing: str, noisiest: Level) -> float:
        """Of the first noise."""
        return 1.0


class WholeTimes(Grid):
    """Training times alone."""

    spacings = tuple(IN_TIME)
    usual = "leading"

    def in_time(self, schedule: NoiseSchedule, spacing: str, steps: int) -> list[Level]:
        return [schedule.level(int(t)) for t in IN_TIME[spacing](len(schedule), steps).round().tolist()]


class AnyTimes(Grid):
    """Times between the training times, too."""

    def in_time(self, schedule: NoiseSchedule, spacing: str, steps: int) -> list[Level]:
        times = IN_TIME[spacing](len(schedule), steps)
        return _levels(schedule.ratio_at(times), times)

    def scale(self, spacing: str, noisiest: Level) -> float:
        """x begins as noise without a picture, sigma eps; but "leading" begins where there is still one, of mean 0, and
        the variance of both together is 1."""
        return 1.0 if spacing == "leading" else noisiest.sigma


class InnerTimes(Grid):
    """Whole times of a grid with one more, of which the last, the cleanest, is left out."""

    def in_time(self, schedule: NoiseSchedule, spacing: str, steps: int) -> list[Level]:
        more = 0 if spacing == "trailing" else 1  # that one has left it out
        times = self.told(IN_TIME[spacing](len(schedule), steps + more)[:steps])
        return _levels(schedule.ratio_at(times), times)

    def told(self, times: Tensor) -> Tensor:
        return times.round()


class DistilledTimes(Grid):
    """Of the times that a latent consistency model knows, as even a choice as there is."""

    spacings = ("trailing",)
    usual = "trailing"

    def most(self, schedule: NoiseSchedule) -> int:
        return min(DISTILLED, super().most(schedule))

    def in_time(self, schedule: NoiseSchedule, spacing: str, steps: int) -> list[Level]:
        known = self.most(schedule)
        every = len(schedule) // known
        return [schedule.level((known - step * known // steps) * every - 1) for step in range(steps)]


def _levels(ratios: Tensor, times: Tensor) -> list[Level]:
    return [Level.of(ratio, t=t) for ratio, t in zip(ratios.tolist(), times.tolist(), strict=True)]
