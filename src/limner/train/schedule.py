"""Everything that changes during a run, as pure functions of how much of it has passed and of the images seen."""

from __future__ import annotations

from dataclasses import dataclass

from limner.train.recipe import Optimizer

RAMP = 0.08  # the average's half-life is at most this share of the images seen, so that it forgets the first weights


@dataclass(frozen=True, slots=True)
class Stage:
    """The part of a run in which a step is trained, in fractions of the run: iterations that begin at `start` or later,
    before `end`."""

    start: float
    end: float

    def holds(self, fraction: float) -> bool:
        return self.start <= fraction < self.end

    def passed(self, fraction: float) -> float:
        """How much of the stage has passed, from 0 to 1, at this fraction of the run."""
        return min(1.0, max(0.0, (fraction - self.start) / (self.end - self.start)))


def rate(optimizer: Optimizer, *, images: int, passed: float) -> float:
    """The share of the learning rate: up linearly over `warmup` images, level, and in the last `decay` of the training
    down linearly to `floor`; `images` have been seen in it, and `passed` of it is done."""
    rise = min(1.0, images / optimizer.warmup) if optimizer.warmup else 1.0
    fallen = max(0.0, 1.0 - (1.0 - passed) / optimizer.decay) if optimizer.decay else 0.0
    return rise * (1.0 - fallen * (1.0 - optimizer.floor))


def ema_decay(images: int, *, half_life: float, stride: int) -> float:
    """What the average keeps of itself over the last `stride` of `images`; the ramp is EDM's (Karras et al. 2022)."""
    half_life = min(half_life, RAMP * images)
    return float(0.5 ** (stride / half_life)) if half_life else 0.0


def crossed(images: int, *, stride: int, every: int) -> bool:
    """Whether a multiple of `every` lies in the last `stride` of `images`."""
    return images // every > (images - stride) // every
