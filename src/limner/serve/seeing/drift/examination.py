"""The jobs of late, of one model: against what it was trained on, and against what may go wrong.

A limit is passed where a number is beyond it and chance alone would hardly bring it there, so that the first ten
prompts of a day raise no alarm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from limner.core import Tokenizer, check
from limner.evaluate.intervals import wilson
from limner.serve.orders import Job, State
from limner.serve.seeing.drift.distributions import MEASURES, Measure, by_chance, distance
from limner.serve.seeing.drift.prompts import Measured
from limner.serve.seeing.drift.reference import Reference, tallied

FEWEST = 20  # prompts, pictures or jobs that are judged at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`drift` is of Jensen-Shannon distances; `failed` (those that ran out of time among them) and `refused` are shares
    of the jobs that are over; `seconds` is within what 95 % of those that were drawn are to be done."""

    drift: float = 0.3
    failed: float = 0.02
    refused: float = 0.2
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for name in ("drift", "failed", "refused"):
            check(0.0 <= getattr(self, name) <= 1.0, f"the limit {name} = {getattr(self, name)} is not from 0 to 1")
        check(self.seconds > 0.0, f"the limit of {self.seconds} seconds is not above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A number of `count` jobs, prompts or pictures, its limit, and what of it may be chance. None: too few to tell."""

    name: str
    title: str
    count: int
    value: float | None
    limit: float
    chance: float | None = None
    passed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """`counts` are the distributions, `reference` those to compare with; `measured` goes by the prompts of `jobs`."""

    model: str
    jobs: Sequence[Job]
    findings: Sequence[Finding]
    counts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    reference: Reference | None = None
    measured: Sequence[Measured] = ()

    @property
    def passed(self) -> bool:
        return any(one.passed for one in self.findings)


def examine(
    model: str, jobs: Sequence[Job], limits: Limits, *, reference: Reference | None = None,
    tokenizer: Tokenizer | None = None, scores: Sequence[float] = (),
) -> Examined:  # fmt: skip
    """All that can be said of the jobs of a model; without a reference nothing of drift."""
    working = operation(jobs, limits)
    if reference is None:
        return Examined(model=model, jobs=jobs, findings=working)
    assert tokenizer is not None
    measured = reference.ruler(tokenizer).measure([job.order.prompt for job in jobs])
    counts = tallied(measured)
    if scores:
        counts["score"] = MEASURES[-1].counts(scores)
    drifts = [
        drift(one, counts[one.name], reference.counts[one.name], limits.drift)
        for one in MEASURES if one.name in counts and one.name in reference.counts
    ]  # fmt: skip
    return Examined(
        model=model, jobs=jobs, findings=[*drifts, *working], counts=counts, reference=reference, measured=measured
    )


def drift(measure: Measure, counts: Sequence[int], reference: Sequence[int], limit: float) -> Finding:
    count = sum(counts)
    if count < FEWEST:
        return Finding(name=measure.name, title=measure.title, count=count, value=None, limit=limit)
    value, chance = distance(counts, reference), by_chance(reference, count)
    return Finding(
        name=measure.name, title=measure.title, count=count, value=value, limit=limit, chance=chance,
        passed=value > max(limit, chance),
    )  # fmt: skip


def operation(jobs: Sequence[Job], limits: Limits) -> list[Finding]:
    """How the jobs that are over ended."""
    over = [job for job in jobs if job.state.over and job.state is not State.CANCELLED]
    failed = sum(job.state in (State.FAILED, State.EXPIRED) for job in over)
    refused = sum(job.state is State.REFUSED for job in over)
    return [
        share("failed", "share of jobs that failed or came too late", failed, len(over), limits.failed),
        share("refused", "share of jobs that the model could not draw", refused, len(over), limits.refused),
        _turnaround([job for job in over if job.state is State.DONE], limits.seconds),
    ]


def share(name: str, title: str, part: int, whole: int, limit: float) -> Finding:
    """Passed where the lower end of its 95 % interval is."""
    if whole < FEWEST:
        return Finding(name=name, title=title, count=whole, value=None, limit=limit)
    return Finding(
        name=name, title=title, count=whole, value=part / whole, limit=limit, passed=wilson(part, whole)[0] > limit
    )  # fmt: skip


def _turnaround(done: Sequence[Job], limit: float) -> Finding:
    """Passed where, sure to 95 %, more than one of twenty took longer."""
    seconds = [max(0.0, job.finished - job.accepted) for job in done if job.finished is not None]
    title, count = "seconds in which 95 % of the jobs were done", len(seconds)
    if count < FEWEST:
        return Finding(name="seconds", title=title, count=count, value=None, limit=limit)
    late = sum(one > limit for one in seconds)
    return Finding(
        name="seconds", title=title, count=count, value=float(np.quantile(seconds, 0.95)), limit=limit,
        passed=wilson(late, count)[0] > 0.05,
    )  # fmt: skip
