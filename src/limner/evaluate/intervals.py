"""How sure a share of so many trials is."""

from __future__ import annotations

import math

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
