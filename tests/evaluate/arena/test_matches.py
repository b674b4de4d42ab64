"""Which pair comes next."""

from __future__ import annotations

from collections import Counter
from random import Random

from limner.evaluate.arena.matches import Candidate, choose, sides


def pairs(*rows: tuple[int, int, int]) -> list[Candidate]:
    """Candidates of other pictures each, given who drew them and the votes."""
    return [Candidate(2 * place, 2 * place + 1, *row) for place, row in enumerate(rows)]


def test_the_pair_with_the_fewest_votes_comes_first():
    candidates = pairs((1, 2, 3), (1, 2, 1), (1, 2, 2))
    assert {choose(candidates, Random(seed)) for seed in range(20)} == {candidates[1]}


def test_among_those_the_contestants_who_met_least():
    candidates = pairs((1, 2, 5), (1, 2, 0), (1, 3, 1), (1, 3, 0))
    assert {choose(candidates, Random(seed)) for seed in range(20)} == {candidates[3]}


def test_equals_come_by_chance():
    candidates = pairs(*[(1, 2, 0)] * 4)
    found = Counter(choose(candidates, Random(seed)) for seed in range(400))
    assert set(found) == set(candidates)
    assert min(found.values()) > 60


def test_the_sides_are_tossed():
    [pair] = pairs((1, 2, 0))
    random = Random(0)
    found = Counter(sides(pair, random) for _ in range(1000))
    assert set(found) == {(0, 1), (1, 0)}
    assert abs(found[0, 1] - 500) < 60


def test_nothing_comes_of_nothing():
    assert choose([], Random(0)) is None


def test_everybody_meets_equally_often_in_the_end():
    """Fifteen pairs of three contestants and five prompts, each vote counted: after 60 votes, four on each."""
    candidates = pairs(*[(one, other, 0) for one, other in ((1, 2), (1, 3), (2, 3)) for _ in range(5)])
    random = Random(0)
    for number in range(60):
        next_one = choose(candidates, random)
        candidates = [one._replace(votes=one.votes + (one == next_one)) for one in candidates]
        votes = [one.votes for one in candidates]
        met = Counter[tuple[int, int]]()
        for one in candidates:
            met[one.one_by, one.other_by] += one.votes
        assert max(votes) - min(votes) <= 1
        assert max(met.values()) - min(met.values()) <= 1, number
    assert votes == [4] * 15
