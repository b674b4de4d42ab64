"""How often the arena's intervals hold the true lead, by simulation: python benchmarks/votes.py [EXPERIMENTS]

Three contestants vote by Davidson's model; strengths are 0.6 apart on average, and around that differ from prompt to
prompt by a standard deviation of SPREAD. The true lead is what infinitely many such votes would give.
"""

from __future__ import annotations

import sys
from itertools import combinations

import numpy as np

from limner.evaluate.arena.ratings import ELO, Bout, Davidson, rate

STRENGTHS, TIES = np.array([-0.6, 0.0, 0.6]), -0.7
PAIRS = list(combinations(range(3), 2))
ROWS = [(3, 10), (5, 6), (10, 3), (10, 6), (20, 3), (20, 6), (40, 4), (50, 1)]  # prompts, votes on each


def chances(strengths: np.ndarray) -> np.ndarray:
    """(..., 3) strengths to the chances of each pair's outcomes (..., 3 pairs, 3)."""
    logits = [
        [strengths[..., i], strengths[..., j], (strengths[..., i] + strengths[..., j]) / 2 + TIES] for i, j in PAIRS
    ]
    odds = np.exp(np.moveaxis(np.array(logits), (0, 1), (-2, -1)))
    return odds / odds.sum(axis=-1, keepdims=True)


def true_lead(spread: float) -> float:
    random = np.random.default_rng(0)
    local = STRENGTHS + random.normal(0, spread, (200_000, 3))
    strengths = Davidson(3).fit(1000 * chances(local).mean(axis=0)[None])[0]
    return ELO * float(strengths[2] - strengths[0])


def covered(prompts: int, each: int, spread: float, lead: float, seed: int) -> bool:
    random, bouts = np.random.default_rng(seed), []
    for prompt in range(prompts):
        odds = chances(STRENGTHS + random.normal(0, spread, 3))
        for pair in random.integers(3, size=each):
            bouts.append(Bout(*PAIRS[pair], int(random.choice(3, p=odds[pair])), prompt))
    low, high = rate(bouts, 3, draws=400, seed=seed).lead_interval(2, 0)
    return low <= lead <= high


def main() -> None:
    experiments = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    for spread in (0.0, 0.7):
        lead = true_lead(spread)
        print(f"spread {spread}: the true lead is {lead:.0f} points")
        for prompts, each in ROWS:
            share = np.mean([covered(prompts, each, spread, lead, seed) for seed in range(experiments)])
            print(f"  {prompts:3} prompts, {each:2} votes on each: {share:.1%} of {experiments} intervals hold it")


if __name__ == "__main__":
    main()
