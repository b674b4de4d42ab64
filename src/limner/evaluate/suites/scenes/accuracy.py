"""Of outcomes to shares with their doubt, paired between models that were asked the same.

Each answer is of a caption of its own, right or wrong: intervals are in closed form, and hold for none and for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limner.core import check
from limner.evaluate.intervals import difference_of_paired, interval_of_mean, wilson
from limner.evaluate.score import Difference
from limner.evaluate.suites.scenes.ledger import Outcome
from limner.evaluate.suites.scenes.tasks import GENEVAL, TASKS

OVERALL = "overall"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of right answers. `answers` are by what was asked."""

    name: str
    answers: Mapping[str, bool]

    @staticmethod
    def of(name: str, outcomes: Sequence[Outcome]) -> Accuracy:
        return Accuracy(name, {one.key: one.right for one in outcomes})

    @property
    def n(self) -> int:
        return len(self.answers)

    @property
    def value(self) -> float:
        return sum(self.answers.values()) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %."""
        return wilson(sum(self.answers.values()), self.n)

    def to_json(self) -> dict[str, Any]:
        return {"metric": self.name, "value": self.value, "interval95": list(self.interval), "n": self.n}

    def less(self, other: Accuracy) -> Difference:
        """InputError unless both were asked the same."""
        check(self.answers.keys() == other.answers.keys(), f"{self.name}: a paired difference wants the same captions")
        pairs = [(right, other.answers[key]) for key, right in self.answers.items()]
        counts = [pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]
        return Difference(self.name, self.value - other.value, difference_of_paired(*counts))


@dataclass(frozen=True, slots=True)
class Overall:
    """The mean of several tasks' shares, each of the same weight, as GenEval sums up."""

    name: str
    parts: Sequence[Accuracy]

    @property
    def n(self) -> int:
        return sum(part.n for part in self.parts)

    @property
    def value(self) -> float:
        return sum(part.value for part in self.parts) / len(self.parts)

    @property
    def interval(self) -> tuple[float, float]:
        return interval_of_mean([part.value for part in self.parts], [part.interval for part in self.parts])

    def less(self, other: Overall) -> Difference:
        found = [one.less(another) for one, another in zip(self.parts, other.parts, strict=True)]
        ends = interval_of_mean([one.value for one in found], [one.interval for one in found])
        return Difference(self.name, self.value - other.value, ends)


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Of one split: each task's, and the mean of those of GenEval's six that were asked."""

    tasks: Mapping[str, Accuracy]
    overall: Overall

    @staticmethod
    def of(outcomes: Sequence[Outcome], split: str) -> Accuracies:
        mine = [one for one in outcomes if one.split == split]
        tasks = {
            task: Accuracy.of(f"{task}, {split}", asked)
            for task in TASKS
            if (asked := [one for one in mine if one.task == task])
        }
        return Accuracies(tasks, Overall(f"overall, {split}", [tasks[task] for task in GENEVAL if task in tasks]))

    def rows(self) -> dict[str, Accuracy | Overall]:
        """By task, the mean last."""
        return {**self.tasks, OVERALL: self.overall}

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {"metric": one.name, "value": one.value, "interval95": list(one.interval), "n": one.n}
            for one in self.rows().values()
        ]


def percent(share: Accuracy | Overall) -> str:
    """ "88.0 (84.1-90.6)"."""
    low, high = share.interval
    return f"{100 * share.value:.1f} ({100 * low:.1f}-{100 * high:.1f})"
