"""How sure a share of so many trials is, and a difference of two."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z = 1.959964  # of a 95 % interval


def wilson(right: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927), which keeps within 0 and 1 and holds for few trials too."""
    assert 0 <= right <= trials, (right, trials)
    if trials == 0:
        return 0.0, 1.0
    share, spread = right / trials, Z**2 / trials
    centre = (share + spread / 2) / (1 + spread)
    reach = Z * math.sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    return max(centre - reach, 0.0), min(centre + reach, 1.0)


def difference_of_independent(
    one: float, its: tuple[float, float], other: float, others: tuple[float, float]
) -> tuple[float, float]:
    """The interval of one minus the other, of independent samples, from the interval of each (Newcombe, 1998)."""
    low = math.hypot(one - its[0], others[1] - other)
    high = math.hypot(its[1] - one, other - others[0])
    return one - other - low, one - other + high


def difference_of_paired(both: int, first: int, second: int, neither: int) -> tuple[float, float]:
    """The interval of one share minus another of the same trials (Newcombe, 1998, method 10).

    `both` trials were right in both, `first` in the first alone, and so on. It holds for few right ones too, where a
    bootstrap, which cannot draw what it has not seen, is too sure.
    """
    trials = both + first + second + neither
    assert trials > 0
    one, other = (both + first) / trials, (both + second) / trials
    (low, high), (others_low, others_high) = wilson(both + first, trials), wilson(both + second, trials)
    together = _correlation(both, first, second, neither)

    def reach(mine: float, theirs: float) -> float:
        return math.sqrt(max(mine**2 - 2 * together * mine * theirs + theirs**2, 0.0))

    return one - other - reach(one - low, others_high - other), one - other + reach(high - one, other - others_low)


def _correlation(both: int, first: int, second: int, neither: int) -> float:
    """Of the two answers, with a correction for continuity where they agree."""
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    if margins == 0:
        return 0.0
    agreement = both * neither - first * second
    trials = both + first + second + neither
    return (max(agreement - trials / 2, 0.0) if agreement > 0 else agreement) / math.sqrt(margins)


def interval_of_mean(values: Sequence[float], intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The interval of the mean of independent values, from the interval of each (Zou and Donner, 2008)."""
    mean, count = sum(values) / len(values), len(values)
    low = math.hypot(*(value - end for value, (end, _) in zip(values, intervals, strict=True))) / count
    high = math.hypot(*(end - value for value, (_, end) in zip(values, intervals, strict=True))) / count
    return mean - low, mean + high
