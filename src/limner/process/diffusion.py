"""Variance-preserving diffusion in discrete times (Ho et al. 2020): x = alpha x0 + sigma eps, alpha^2 + sigma^2 = 1.

Training times are t = 0 ... T - 1, from data to noise; alpha^2 is known as alphas_cumprod. What k-diffusion calls
sigma is `ratio` here: sigma / alpha, the noise beside a picture of full strength.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limner.core import check
from limner.process.rectified import spread_over

LEAST = 2.0**-24  # of alphas_cumprod where the ratio is asked for, which would else be infinite at zero terminal SNR


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """What Stable Diffusion was trained with. `first` and `last` are betas; squaredcos_cap_v2 has no use for them."""

    kind: Literal["scaled_linear", "linear", "squaredcos_cap_v2"] = "scaled_linear"
    first: float = 0.00085
    last: float = 0.012
    times: int = 1000
    zero_terminal_snr: bool = False  # moved so that at the last time nothing is left of the picture

    def __post_init__(self) -> None:
        check(2 <= self.times <= 100_000, f"times = {self.times} is not from 2 to 100000; 1000 are usual")
        check(
            0.0 < self.first <= self.last < 1.0,
            f"betas go from first = {self.first} to last = {self.last}: both lie between 0 and 1, in this order",
        )


@dataclass(frozen=True, slots=True)
class Level:
    """How much of x is noise, x = alpha x0 + sigma eps, and the time that the network is told."""

    t: float
    alpha: float
    sigma: float

    @staticmethod
    def of(ratio: float, *, t: float) -> Level:
        alpha = 1.0 / math.sqrt(1.0 + ratio * ratio)
        return Level(t, alpha, ratio * alpha)

    @property
    def ratio(self) -> float:
        return self.sigma / self.alpha

    def mix(self, x0: Tensor, eps: Tensor) -> Tensor:
        return self.alpha * x0 + self.sigma * eps


CLEAN = Level(0.0, alpha=1.0, sigma=0.0)


class NoiseSchedule:
    """`alphas_cumprod` and `ratios` (T,), float64 on the CPU, at each training time."""

    def __init__(self, config: ScheduleConfig) -> None:
        kept = torch.cumprod(1.0 - BETAS[config.kind](config), dim=0)
        self.alphas_cumprod = without_signal_at_the_end(kept) if config.zero_terminal_snr else kept
        floored = self.alphas_cumprod.clamp(min=LEAST)
        self.ratios = ((1.0 - floored) / floored).sqrt()

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def level(self, t: int) -> Level:
        kept = float(self.alphas_cumprod[t])
        return Level(float(t), math.sqrt(kept), math.sqrt(1.0 - kept))

    def ratio_at(self, t: Tensor) -> Tensor:
        """Of times (N,) between the training times, too: straight from one to the next."""
        low = t.floor().long().clamp(0, len(self) - 2)
        return torch.lerp(self.ratios[low], self.ratios[low + 1], t - low)

    def time_of(self, ratio: Tensor) -> Tensor:
        """The time (N,) that the network is told of ratios (N,): straight in their logarithm, within 0 and T - 1."""
        logs, log = self.ratios.log(), ratio.log()
        low = (torch.searchsorted(logs, log, right=True) - 1).clamp(0, len(self) - 2)
        return low + ((log - logs[low]) / (logs[low + 1] - logs[low])).clamp(0.0, 1.0)

    def factors(self, t: Tensor, *, like: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma of each row's training time t (B,) int64, as (B, 1, 1, 1) beside `like` (B, C, h, w)."""
        kept = spread_over(self.alphas_cumprod[t.cpu()], like)
        return kept.sqrt().to(like), (1.0 - kept).sqrt().to(like)


def without_signal_at_the_end(kept: Tensor) -> Tensor:
    """alphas_cumprod whose roots are stretched down to 0 at the last time (Lin et al. 2023, algorithm 1)."""
    roots = kept.sqrt()
    return ((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))).square()


def _scaled_linear(config: ScheduleConfig) -> Tensor:
    ends = math.sqrt(config.first), math.sqrt(config.last)
    return torch.linspace(*ends, config.times, dtype=torch.float64).square()


def _linear(config: ScheduleConfig) -> Tensor:
    return torch.linspace(config.first, config.last, config.times, dtype=torch.float64)


def _squared_cosine(config: ScheduleConfig) -> Tensor:
    """alphas_cumprod is a cosine squared (Nichol and Dhariwal 2021, equation 17); betas end at 0.999."""
    t = torch.arange(config.times + 1, dtype=torch.float64) / config.times
    kept = ((t + 0.008) / 1.008 * (math.pi / 2)).cos().square()
    return (1.0 - kept[1:] / kept[:-1]).clamp(max=0.999)


BETAS: dict[str, Callable[[ScheduleConfig], Tensor]] = {
    "scaled_linear": _scaled_linear, "linear": _linear, "squaredcos_cap_v2": _squared_cosine,
}  # fmt: skip
