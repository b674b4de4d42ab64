"""The linear multistep method of Adams and Bashforth, up to fourth order, on uneven steps.

x / alpha has the slope eps over the ratio sigma / alpha: a polynomial through its last four values is integrated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from limner.process.solvers.solver import Path, Solver, along
from limner.process.spacings import AnyTimes

ORDER = 4


class LMS(Solver):
    grid = AnyTimes()

    def solve(self) -> Path:
        ratios: list[float] = []
        slopes: list[Tensor] = []
        for here, there in self.pairs:
            seen = yield here
            ratios, slopes = [here.ratio, *ratios][:ORDER], [seen.eps, *slopes][:ORDER]
            shares = adams_bashforth(ratios, there.ratio)
            slope = sum(share * one for share, one in zip(shares, slopes, strict=True))
            assert isinstance(slope, Tensor)
            self.x = along(self.x, slope, here, there)


def adams_bashforth(places: Sequence[float], end: float) -> list[float]:
    """The share that the slope at each of up to four places has in the mean slope from the first of them to `end`."""
    middle, half = (places[0] + end) / 2, (end - places[0]) / 2
    points = [middle - half / math.sqrt(3), middle + half / math.sqrt(3)]  # Gauss's two, exact for a cubic
    return [sum(_lagrange(places, one, point) for point in points) / 2 for one in range(len(places))]


def _lagrange(places: Sequence[float], one: int, point: float) -> float:
    """The polynomial that is 1 at this one of the places and 0 at the others."""
    others = [place for index, place in enumerate(places) if index != one]
    return math.prod((point - other) / (places[one] - other) for other in others)
