"""Everything that changes during a run, as pure functions of the images seen."""

from __future__ import annotations

from dataclasses import dataclass

from limner.train.recipe import Optimizer

RAMP = 0.08  # the average's half-life is at most this share of the images seen, so that it forgets the first weights


@dataclass(frozen=True, slots=True)
class Stage:
    """The part of a run in which a step is trained: iterations that begin at `start` images or later, before `end`."""

    start: int
    end: int

    def holds(self, images: int) -> bool:
        return self.start <= images < self.end

    def rate(self, images: int, optimizer: Optimizer) -> float:
        """As the function `rate`, as though the stage were the run."""
        return rate(images - self.start, optimizer, budget=self.end - self.start)


def rate(images: int, optimizer: Optimizer, *, budget: int) -> float:
    """The share of the learning rate: up linearly over `warmup`, level, down linearly to `floor` at `budget`."""
    rise = min(1.0, images / optimizer.warmup) if optimizer.warmup else 1.0
    falling = optimizer.decay * budget
    passed = min(1.0, max(0.0, (images - (budget - falling)) / falling)) if falling else 0.0
    return rise * (1.0 - passed * (1.0 - optimizer.floor))


def ema_decay(images: int, *, half_life: float, stride: int) -> float:
    """What the average keeps of itself over the last `stride` of `images`; the ramp is EDM's (Karras et al. 2022)."""
    half_life = min(half_life, RAMP * images)
    return float(0.5 ** (stride / half_life)) if half_life else 0.0


def crossed(images: int, *, stride: int, every: int) -> bool:
    """Whether a multiple of `every` lies in the last `stride` of `images`."""
    return images // every > (images - stride) // every
