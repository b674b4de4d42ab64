"""A solver: one picture's way from noise to data, one call of the network after the other (Song et al. 2021).

Every solver keeps x = alpha x0 + sigma eps with alpha^2 + sigma^2 = 1, which is what the network sees; k-diffusion's
x is x / alpha. `solve` is the paper's loop, written down as such: `yield level` asks for a call of the network
with `self.x` at that level, and gives what was seen there.

x, x0 and eps are (1, C, h, w) float32.
"""

from __future__ import annotations

import collections.abc
import itertools
import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor

from limner.core import check, nearest
from limner.process.diffusion import CLEAN, Level, NoiseSchedule
from limner.process.predictions import Epsilon, Prediction, prediction_named
from limner.process.spacings import Grid


@dataclass(frozen=True, slots=True)
class Seen:
    """The network's output, and the picture and the noise that it means: x = alpha x0 + sigma eps."""

    output: Tensor
    x0: Tensor
    eps: Tensor


Path = collections.abc.Generator[Level, Seen, None]


class Solver:
    """The state of one picture. `calls` is how often the network is called in all, `call` how often it has been.

    `x` is set by `begin`, or to what `noised` gives; it may be changed between two calls. `level` is that of x and of
    the next call, `x0` the running estimate.
    """

    grid: ClassVar[Grid]
    usual_eta: ClassVar[float | None] = None  # None: it draws no noise
    x: Tensor
    _generator: Generator

    def __init__(
        self, schedule: NoiseSchedule, *, steps: int, spacing: str | None = None, prediction: str = "epsilon",
        start: int = 0, eta: float | None = None,
    ) -> None:  # fmt: skip
        """Of `steps` steps the first `start` are left out (see `start_at`). `eta` is the share of new noise in a step,
        from none to all that keeps the variance. InputError if the solver cannot do what is asked."""
        assert 0 <= start < steps or steps < 1, (start, steps)
        self.spacing = self.check_spacing(spacing)
        self.eta = self.check_eta(eta)
        self.prediction = _fitting(prediction_named(prediction), schedule)
        self.schedule = schedule
        levels = [*self.grid.levels(schedule, self.spacing, steps), self.end(schedule)]
        self.pairs = list(itertools.pairwise(levels[start:]))
        self.calls, self.call = self.count(len(self.pairs)), 0
        self.x0: Tensor | None = None
        self._path = self.solve()
        self.level = next(self._path)

    # -- from outside ------------------------------------------------------------------------------

    def begin(self, noise: Tensor) -> None:
        """From noise of variance 1 alone."""
        self.x = self.grid.scale(self.spacing, self.level) * noise

    def noised(self, x0: Tensor, eps: Tensor) -> Tensor:
        """A known picture with as much noise as x has now: to begin with, or to repaint."""
        return self.level.mix(x0, eps)

    @property
    def t(self) -> float:
        """What the network is told at the next call, in training times."""
        return self.level.t

    @property
    def done(self) -> bool:
        return self.call == self.calls

    def take(self, output: Tensor, generator: Generator) -> None:
        """Go on by the network's output, guided where it is, for `x` at `t`. `generator` is the picture's own."""
        assert not self.done, f"all {self.calls} calls were made"
        seen = self.read(output.to(self.x), self.level)
        self.x0, self._generator = seen.x0, generator
        self.call += 1
        try:
            self.level = self._path.send(seen)
        except StopIteration:
            self.level = CLEAN

    # -- for the subclasses ------------------------------------------------------------------------

    @staticmethod
    def count(steps: int) -> int:
        """Calls of the network in so many steps."""
        return steps

    def end(self, schedule: NoiseSchedule) -> Level:
        """Where the last step leads."""
        return CLEAN

    def solve(self) -> Path:
        raise NotImplementedError

    def read(self, output: Tensor, level: Level) -> Seen:
        return Seen(output, *self.prediction.read(output, self.x, level.alpha, level.sigma))

    def noise(self) -> Tensor:
        """Of variance 1, from the picture's own generator."""
        return torch.randn(self.x.shape, generator=self._generator, dtype=self.x.dtype).to(self.x.device)

    # -- what is asked for -------------------------------------------------------------------------

    @classmethod
    def check_spacing(cls, spacing: str | None) -> str:
        """The usual one where none is named; InputError if it does not apply."""
        known = cls.grid.spacings
        if spacing is not None:
            hint = f"{nearest(spacing, known)}; it has {', '.join(known)}"
            check(spacing in known, f'the spacing "{spacing}" does not apply to {cls.__name__}{hint}')
        return spacing or cls.grid.usual

    @classmethod
    def check_eta(cls, eta: float | None) -> float:
        if eta is None or cls.usual_eta is None:
            check(eta is None, f"eta = {eta}, but {cls.__name__} draws no noise: leave eta out")
            return cls.usual_eta or 0.0
        check(0.0 <= eta <= 1.0, f"eta = {eta} is not from 0 (no new noise) to 1")
        return eta


def toward(x: Tensor, x0: Tensor, here: Level, there: Level) -> Tensor:
    """x at another level, exact where x0 stays what it is: DDIM's step, and DPM-Solver++'s of first order."""
    share = there.sigma / here.sigma
    return share * x + (there.alpha - share * here.alpha) * x0


def along(x: Tensor, eps: Tensor, here: Level, there: Level) -> Tensor:
    """The same where eps stays what it is: Euler's step in x / alpha, of which eps is the slope over the ratio."""
    share = there.alpha / here.alpha
    return share * x + (there.sigma - share * here.sigma) * eps


def renewing(here: Level, there: Level, eta: float) -> tuple[Level, float]:
    """A step to less noise than there is to be, and the standard deviation of the new noise that makes up for it (Song
    et al. 2021, equation 16). eta = 1 is the posterior of the forward process, eta = 0 has no new noise."""
    new = eta * there.sigma / here.sigma * math.sqrt(1.0 - (here.alpha / there.alpha) ** 2)
    return replace(there, sigma=math.sqrt(there.sigma**2 - new**2)), new


def _fitting(kind: type[Prediction], schedule: NoiseSchedule) -> type[Prediction]:
    check(
        kind is not Epsilon or float(schedule.alphas_cumprod[-1]) > 0.0,
        "of pure noise, which zero_terminal_snr begins with, a prediction of epsilon says nothing: use v_prediction",
    )
    return kind
