"""Bradley-Terry ratings with ties: Davidson, "On extending the Bradley-Terry model to accommodate ties" (JASA 1970).

With strengths theta and a tendency lambda to call a tie, two pictures meet in one of three ways, with the odds

    first wins : second wins : tie  =  exp(theta_i) : exp(theta_j) : exp((theta_i + theta_j) / 2 + lambda)

Ties are thus outcomes of their own, which say that two are near each other; counted as half wins they would pull all
ratings together, the more so the more often a person is undecided. The log-likelihood is that of a multinomial logit,
which is concave, so that Newton's method finds the one maximum.

Nobody's strength is infinite for having won every vote: each contestant is given half a win, half a defeat and half a
tie, shared evenly among its opponents. For two contestants this is Jeffreys's prior on the three outcomes.

Intervals come from the Bayesian bootstrap (Rubin 1981) with prompts as its units, because votes on one prompt are
not independent: each prompt's votes get a weight from Exp(1), the prior's counts one from Gamma of their size. For two
contestants and one vote a prompt this is exactly the posterior under Jeffreys's prior. The usual bootstrap would give
somebody who won ten votes of ten an interval of no width, since every resample is the same ten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FIRST, SECOND, TIE = 0, 1, 2
MEAN, ELO = 1000.0, 400.0 / math.log(10.0)  # of the scale of ratings: 400 more are odds of ten to one
PRIOR = 0.5  # wins, defeats and ties given to each contestant
LEAST = 1e-4  # of a resampled count, which may come out as good as 0: this is further out than any interval's end
LONGEST, MOST = 0.5, 500  # a step of Newton's, in strength; how many steps
FLAT = 1e-13  # of the number of votes: a gain in log-likelihood that rounding hides
DRAWS = 1000
TAIL = 2.5  # percent on either side of an interval


class Bout(NamedTuple):
    """One vote, in numbers: two contestants with `first` < `second`, FIRST, SECOND or TIE, and the prompt's number."""

    first: int
    second: int
    outcome: int
    prompt: int


@dataclass(frozen=True, slots=True)
class Ratings:
    """`strengths` (K,) are natural logarithms with mean 0, `ties` is lambda, `draws` (R, K) bootstrapped strengths."""

    strengths: Array
    ties: float
    draws: Array

    def rating(self, one: int) -> float:
        """On Elo's scale, the mean of all contestants being 1000."""
        return MEAN + ELO * float(self.strengths[one])

    def interval(self, one: int) -> tuple[float, float]:
        """Of 95 %, of a rating."""
        return _middle(MEAN + ELO * self.draws[:, one])

    def lead(self, one: int, other: int) -> float:
        """How far one's rating is above the other's."""
        return ELO * float(self.strengths[one] - self.strengths[other])

    def lead_interval(self, one: int, other: int) -> tuple[float, float]:
        """Of 95 %; narrower than the two ratings' own intervals suggest, because those move together."""
        return _middle(ELO * (self.draws[:, one] - self.draws[:, other]))


def rate(bouts: Sequence[Bout], contestants: int, *, draws: int = DRAWS, seed: int = 0) -> Ratings:
    """The ratings of contestants 0, 1, ... by their votes. The same votes and seed give the same numbers.

    An interval from few prompts is too narrow, and from one says nothing: see docs/arena.md for how many it takes.
    """
    assert contestants >= 2, contestants
    model = Davidson(contestants)
    counts = model.counts(bouts)
    random = np.random.default_rng(seed)
    prior = PRIOR / (contestants - 1)
    weights = random.standard_exponential((draws, len(counts)))
    resampled = np.tensordot(weights, counts, axes=1) + random.standard_gamma(prior, (draws, *counts.shape[1:]))
    best = model.fit(counts.sum(axis=0, keepdims=True) + prior)[0]
    return Ratings(best[:-1], float(best[-1]), model.fit(np.maximum(resampled, LEAST))[:, :-1])


class Davidson:
    """The model of K contestants. Parameters are (K + 1,): the strengths, which sum to 0, and lambda."""

    def __init__(self, contestants: int) -> None:
        self.contestants = contestants
        self.pairs = list(combinations(range(contestants), 2))
        identity = np.eye(contestants + 1)
        rows = [(identity[i], identity[j], (identity[i] + identity[j]) / 2 + identity[-1]) for i, j in self.pairs]
        self._design = np.array(rows)  # (P, 3, K + 1): log-odds are this times the parameters
        self._squares = np.einsum("pod,poe->pode", self._design, self._design)

    def counts(self, bouts: Sequence[Bout]) -> Array:
        """(prompts, P, 3): how often each pair ended how, by prompt."""
        place = {pair: number for number, pair in enumerate(self.pairs)}
        found = np.zeros((1 + max((bout.prompt for bout in bouts), default=-1), len(self.pairs), 3))
        for bout in bouts:
            found[bout.prompt, place[bout.first, bout.second], bout.outcome] += 1
        return found

    def fit(self, counts: Array) -> Array:
        """The most likely parameters, (R, K + 1), of each of R tables of counts (R, P, 3), all of them above 0.

        A step of at most 1/2 changes the log-odds of a pair's outcomes against one another by at most 1, and such a
        step of Newton's always climbs (Bach 2010, "Self-concordant analysis for logistic regression").
        """
        found = np.zeros((len(counts), self.contestants + 1))
        for _ in range(MOST):
            gradient, curvature = self._slopes(counts, found)
            step = np.linalg.solve(curvature, gradient[..., None])[..., 0]
            size = np.abs(step).max(axis=1, keepdims=True)
            found += step * (LONGEST / np.maximum(size, LONGEST))
            if ((gradient * step).sum(axis=1) < FLAT * counts.sum(axis=(1, 2))).all():
                return found
        raise AssertionError(f"no maximum within {MOST} steps")

    def _slopes(self, counts: Array, parameters: Array) -> tuple[Array, Array]:
        """The log-likelihood's gradient (R, K + 1) and its negative second derivatives (R, K + 1, K + 1)."""
        chances = _softmax(np.einsum("pod,rd->rpo", self._design, parameters))
        votes = counts.sum(axis=2, keepdims=True)
        gradient = np.einsum("rpo,pod->rd", counts - votes * chances, self._design)
        means = np.einsum("rpo,pod->rpd", chances, self._design)
        squares = np.tensordot(votes * chances, self._squares, axes=2)
        curvature = squares - (votes * means).transpose(0, 2, 1) @ means
        # The likelihood does not know the strengths' sum: curvature along it keeps the sum at 0.
        curvature[:, :-1, :-1] += votes.mean(axis=1, keepdims=True)
        curvature += FLAT * votes.sum(axis=1, keepdims=True) * np.eye(self.contestants + 1)
        return gradient, curvature


def _softmax(logits: Array) -> Array:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True))


def _middle(values: Array) -> tuple[float, float]:
    low, high = np.percentile(values, [TAIL, 100.0 - TAIL])
    return float(low), float(high)
