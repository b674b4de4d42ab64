"""How sure a number is: prompts drawn again with replacement, all pictures of a prompt together (Efron, 1979)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.core import check

INTERVAL = 0.95


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """`resamples` draws, the same for every model that was given the same prompts: differences are paired."""

    resamples: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.resamples >= 2, f"resamples = {self.resamples}: an interval needs 2 or more")

    def counts(self, prompts: Sequence[str]) -> Tensor:
        """(resamples, N) float64: how often each row occurs in each resample."""
        names = sorted(set(prompts))
        check(len(names) >= 2, "an interval needs 2 or more prompts; give more, or each picture a prompt of its own")
        place = {name: number for number, name in enumerate(names)}
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.randint(len(names), (self.resamples, len(names)), generator=generator)
        times = torch.zeros(self.resamples, len(names), dtype=torch.float64)
        times.scatter_add_(1, drawn, torch.ones_like(times))
        return times[:, [place[prompt] for prompt in prompts]]


USUAL = Bootstrap()


def digest(prompts: Sequence[str]) -> str:
    """The same for the same set of prompts, whatever their order and however many pictures each has."""
    return hashlib.sha256("\0".join(sorted(set(prompts))).encode()).hexdigest()


def interval(value: float, replicates: Tensor) -> tuple[float, float]:
    """`value` with the replicates' spread about their own mean.

    A resample has fewer different rows than the sample, so that a metric with a finite-sample bias (a Frechet
    distance, recall, Vendi) has it twice in its replicates. Centred, they say how the value would vary
    with other prompts at the same n, and the bias is left to the noise floor.
    """
    tail = (1 - INTERVAL) / 2
    low, high = torch.quantile(replicates - replicates.mean(), torch.tensor([tail, 1 - tail], dtype=torch.float64))
    return value + float(low), value + float(high)
