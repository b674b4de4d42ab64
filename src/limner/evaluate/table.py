"""The scorer's table: a model's rows, and beside each what real scenes and shuffled captions score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from limner.evaluate.intervals import wilson
from limner.evaluate.scorer.reading import Reading

ROWS = {
    "single": "single thing",
    "two": "two things",
    "colour": "colour of a shape",
    "relation": "relation",
    "count": "count",
    "background": "background",
}


@dataclass(slots=True)
class Tally:
    """How many were right, of how many."""

    right: int = 0
    trials: int = 0

    def add(self, right: bool) -> None:
        self.right += right
        self.trials += 1

    @property
    def share(self) -> float:
        return self.right / self.trials if self.trials else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %."""
        return wilson(self.right, self.trials)

    def __str__(self) -> str:
        """In percent, with the interval."""
        low, high = self.interval
        return f"{_percent(self.share)} ({_percent(low)}-{_percent(high)})" if self.trials else "none"

    def to_json(self) -> dict[str, Any]:
        return {"right": self.right, "n": self.trials, "share": self.share, "interval95": list(self.interval)}


def _percent(share: float) -> str:
    return f"{100 * share:.1f}".replace("100.0", "100")


Tallies = dict[str, Tally]


def tally(readings: Sequence[Reading]) -> Tallies:
    """By row, in the order of ROWS."""
    found = {row: Tally() for row in ROWS}
    for reading in readings:
        for row, right in reading.rows().items():
            if row in found:
                found[row].add(right)
    return found


@dataclass(frozen=True, slots=True)
class Table:
    """One model on one split. `real` and `shuffled` are the scorer's calibration: real scenes with their own truths,
    and with those of other scenes of the same kind. `about` says what was scored and how it was drawn, `rows` the
    names of the rows."""

    model: Tallies
    real: Tallies
    shuffled: Tallies
    about: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=lambda: ROWS)

    def lines(self) -> list[tuple[str, str, str, str, str]]:
        """Row, n, and the three shares, as text."""
        return [
            (name, str(self.model[row].trials), str(self.model[row]), str(self.real[row]), str(self.shuffled[row]))
            for row, name in self.rows.items()
        ]

    def to_json(self) -> dict[str, Any]:
        parts = {"model": self.model, "real": self.real, "shuffled": self.shuffled}
        return {
            "about": dict(self.about),
            "rows": {row: {part: found[row].to_json() for part, found in parts.items()} for row in self.rows},
        }

    def to_markdown(self) -> str:
        rows = [COLUMNS, ("---", "---:", "---:", "---:", "---:"), *self.lines()]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in rows) + "\n"


COLUMNS = ("% right", "n", "model", "real scenes", "shuffled")
