"""A number with its doubt, and the difference of two."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from limner.core import InputError
from limner.evaluate.bootstrap import Bootstrap, digest, interval
from limner.evaluate.features import ExtractorId, Features
from limner.evaluate.intervals import wilson

Bounds = tuple[float, float]
ANYWHERE, POSITIVE, SHARE = (-math.inf, math.inf), (0.0, math.inf), (0.0, 1.0)

Statistic = Callable[[Tensor], Tensor]
"""How often each row counts (B, N) to B values of the metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """`value` of a metric over `n` pictures of so many `prompts`, with its 95 % `interval` over prompts.

    `reference` counts the rows that it was measured against, which are held fixed. `floor` is what the metric
    would say at this n of pictures from the very distribution of the reference; None where it is
    nought by construction, or not known.
    """

    metric: str
    value: float
    interval: tuple[float, float]
    n: int
    prompts: int
    extractor: ExtractorId
    reference: int = 0
    floor: float | None = None
    seeds: tuple[int, ...] = ()
    bootstrap: Bootstrap
    prompts_digest: str = field(repr=False)
    replicates: Tensor = field(repr=False, compare=False)

    def __str__(self) -> str:
        low, high = self.interval
        floor = "" if self.floor is None else f", noise floor {self.floor:.4g}"
        return f"{self.metric} {self.value:.4g} ({low:.4g} to {high:.4g}, n {self.n}{floor})"

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric, "value": self.value, "interval95": list(self.interval), "n": self.n,
            "prompts": self.prompts, "reference": self.reference, "floor": self.floor, "seeds": spans(self.seeds),
            "extractor": self.extractor.name, "extractor_hash": self.extractor.hash, "resize": self.extractor.resize,
            "resamples": self.bootstrap.resamples, "bootstrap_seed": self.bootstrap.seed,
            "prompts_digest": self.prompts_digest,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """`value` = one minus the other, on the same prompts, with its 95 % interval."""

    metric: str
    value: float
    interval: tuple[float, float]

    @property
    def called(self) -> bool:
        """Whether the interval excludes nought: only then is one said to be more than the other."""
        return not self.interval[0] <= 0 <= self.interval[1]

    def to_json(self) -> dict[str, Any]:
        return {"metric": self.metric, "value": self.value, "interval95": list(self.interval), "called": self.called}


def scored(
    metric: str,
    statistic: Statistic,
    generated: Features,
    *,
    bootstrap: Bootstrap,
    value: float | None = None,
    reference: int = 0,
    floor: float | None = None,
    bounds: Bounds = ANYWHERE,
) -> Score:
    """`statistic` of all rows (or a `value` of the metric's own protocol), its replicates and their interval.

    `bounds` are those that the metric has by definition; centred replicates know nothing of them.
    """
    if value is None:
        value = float(statistic(torch.ones(1, len(generated), dtype=torch.float64))[0])
    replicates = statistic(bootstrap.counts(generated.prompts))
    low, high = interval(value, replicates)
    return Score(
        metric=metric, value=value, interval=(max(low, bounds[0]), min(high, bounds[1])), n=len(generated),
        prompts=len(set(generated.prompts)), extractor=generated.extractor, reference=reference, floor=floor,
        seeds=generated.seeds, bootstrap=bootstrap, prompts_digest=digest(generated.prompts), replicates=replicates,
    )  # fmt: skip


def averaged(
    metric: str,
    rows: Tensor,
    generated: Features,
    *,
    bootstrap: Bootstrap,
    reference: int = 0,
    floor: float | None = None,
    bounds: Bounds = ANYWHERE,
) -> Score:
    """The mean of a number (N,) that each picture has of its own."""

    def statistic(counts: Tensor) -> Tensor:
        return mean(counts, rows)

    return scored(metric, statistic, generated, bootstrap=bootstrap, reference=reference, floor=floor, bounds=bounds)


def share(metric: str, rows: Tensor, generated: Features, *, bootstrap: Bootstrap, reference: int = 0) -> Score:
    """The mean of what is 0 or 1 for each picture.

    Where all rows are alike every resample is as well, and the bootstrap would be certain; what could still be is
    Wilson's to say, a prompt being one trial.
    """
    found = averaged(metric, rows, generated, bootstrap=bootstrap, reference=reference, bounds=SHARE)
    if found.value not in (0.0, 1.0):
        return found
    return replace(found, interval=wilson(round(found.value) * found.prompts, found.prompts))


def mean(counts: Tensor, rows: Tensor) -> Tensor:
    """(B,): the mean of `rows` (N,), each as often as `counts` (B, N) says."""
    return counts @ rows.double() / counts.sum(1)


def difference(one: Score, other: Score) -> Difference:
    """`one` minus `other`, resampled together; InputError unless both are of one metric on the same prompts."""
    for name in ("metric", "extractor", "bootstrap", "reference", "prompts_digest"):
        if getattr(one, name) != getattr(other, name):
            what = "prompts" if name == "prompts_digest" else f"{name} ({getattr(one, name)}, {getattr(other, name)})"
            raise InputError(f"{one.metric}: a paired difference wants the same {what}; measure both alike")
    value = one.value - other.value
    return Difference(one.metric, value, interval(value, one.replicates - other.replicates))


def spans(numbers: Sequence[int]) -> str:
    """Whole numbers in brief: (0, 1, 2, 7) are "0-2, 7"."""
    ends: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ends)
