"""Which pair a person is shown next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import NamedTuple


class Candidate(NamedTuple):
    """Two pictures of one subject, by number, who drew them, and how many votes there are on the two."""

    one: int
    other: int
    one_by: int
    other_by: int
    votes: int


def choose(candidates: Sequence[Candidate], random: Random) -> Candidate | None:
    """The pair with the fewest votes, of those the one whose contestants met least often, at random among equals."""
    met: Counter[tuple[int, int]] = Counter()
    for pair in candidates:
        met[pair.one_by, pair.other_by] += pair.votes
    seen = {pair: (pair.votes, met[pair.one_by, pair.other_by]) for pair in candidates}
    fewest = min(seen.values(), default=None)
    return random.choice([pair for pair, count in seen.items() if count == fewest]) if seen else None


def sides(pair: Candidate, random: Random) -> tuple[int, int]:
    """The two pictures, left and right, by a toss."""
    return (pair.one, pair.other) if random.random() < 0.5 else (pair.other, pair.one)
