"""Ratings against closed forms, known strengths, and the posterior that the bootstrap is for two contestants."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mpmath import betainc

from limner.evaluate.arena.ratings import ELO, FIRST, MEAN, SECOND, TIE, Bout, Davidson, Ratings, rate


def duel(won: int, lost: int, tied: int = 0) -> list[Bout]:
    """Votes on two contestants, each on a prompt of its own."""
    outcomes = [FIRST] * won + [SECOND] * lost + [TIE] * tied
    return [Bout(0, 1, outcome, prompt) for prompt, outcome in enumerate(outcomes)]


def chances(strengths: np.ndarray, ties: float) -> np.ndarray:
    """(P, 3) of the model, written out pair by pair."""
    rows = []
    for i, j in combinations(range(len(strengths)), 2):
        one, other = math.exp(strengths[i]), math.exp(strengths[j])
        tie = math.exp(ties) * math.sqrt(one * other)
        rows.append([one, other, tie] / np.float64(one + other + tie))
    return np.array(rows)


def simulated(strengths: np.ndarray, ties: float, *, prompts: int, each: int, seed: int) -> list[Bout]:
    random, pairs = np.random.default_rng(seed), list(combinations(range(len(strengths)), 2))
    odds = chances(strengths, ties)
    found = []
    for prompt in range(prompts):
        for number in random.integers(len(pairs), size=each):
            found.append(Bout(*pairs[number], int(random.choice(3, p=odds[number])), prompt))
    return found


@pytest.mark.parametrize(("won", "lost", "tied"), [(7, 3, 0), (60, 20, 45), (1, 0, 0), (0, 0, 5), (12, 0, 0)])
def test_two_contestants_have_a_closed_form(won, lost, tied):
    found = rate(duel(won, lost, tied), 2, draws=1)
    lead = math.log((won + 0.5) / (lost + 0.5))
    assert found.strengths == pytest.approx([lead / 2, -lead / 2], abs=1e-9)
    assert found.ties == pytest.approx(math.log((tied + 0.5) / math.sqrt((won + 0.5) * (lost + 0.5))), abs=1e-9)
    assert found.lead(0, 1) == pytest.approx(ELO * lead)
    assert found.rating(0) == pytest.approx(MEAN + ELO * lead / 2)


def test_odds_of_ten_to_one_are_400_apart():
    assert Ratings(np.log([10.0, 1.0]), 0.0, np.zeros((1, 2))).lead(0, 1) == pytest.approx(400)


def test_strengths_are_recovered_exactly_from_what_they_predict():
    strengths, ties = np.array([1.3, 0.4, 0.0, -0.2, -1.5]), -0.8
    counts = 50 * chances(strengths, ties) * np.arange(1, 11)[:, None]  # unequally many votes on the pairs
    found = Davidson(5).fit(counts[None])[0]
    assert found == pytest.approx([*strengths, ties], abs=1e-9)


def test_known_strengths_lie_within_their_intervals():
    """Of 40 experiments with 40 prompts each, for each lead, about 95 %."""
    strengths, hits = np.array([0.8, 0.0, -0.8]), []
    for seed in range(40):
        found = rate(simulated(strengths, -0.5, prompts=40, each=3, seed=seed), 3, draws=400, seed=seed)
        for one, other in combinations(range(3), 2):
            low, high = found.lead_interval(one, other)
            hits.append(low <= ELO * (strengths[one] - strengths[other]) <= high)
    assert 0.9 <= np.mean(hits) <= 0.99


@pytest.mark.parametrize(("won", "lost"), [(5, 5), (9, 1), (10, 0), (2, 0)])
def test_the_interval_of_a_duel_is_jeffreys(won, lost):
    """The chance that the first wins, where nobody ties, has the posterior Beta(won + 1/2, lost + 1/2)."""
    found = rate(duel(won, lost), 2, draws=8000)
    for bound, expected in zip(found.lead_interval(0, 1), (0.025, 0.975), strict=True):
        share = 1 / (1 + math.exp(-bound / ELO))
        assert float(betainc(won + 0.5, lost + 0.5, 0, share, regularized=True)) == pytest.approx(expected, abs=0.006)


def test_ten_of_ten_is_no_certainty():
    low, high = rate(duel(10, 0), 2).lead_interval(0, 1)
    assert 150 < low < 300
    assert high > 1000


def test_the_standard_error_of_equals_is_347_over_the_root_of_the_votes():
    low, high = rate(duel(200, 200), 2, draws=4000).lead_interval(0, 1)
    assert (high - low) / (2 * 1.96) == pytest.approx(347 / math.sqrt(400), rel=0.06)


def test_ties_move_no_duel():
    assert rate(duel(30, 10, 300), 2).lead(0, 1) == pytest.approx(rate(duel(30, 10), 2).lead(0, 1))


def test_votes_on_one_prompt_are_no_independent_evidence():
    """Nine people who see the same 30 pairs know little more than one, and less than one who sees 270."""

    def width(bouts: list[Bout]) -> float:
        low, high = rate(bouts, 2, draws=2000).lead_interval(0, 1)
        return high - low

    once = duel(20, 10)
    again = [bout for bout in once for _ in range(9)]
    assert width(again) == pytest.approx(width(once), rel=0.1)
    assert width(duel(180, 90)) == pytest.approx(width(once) / 3, rel=0.1)


def test_who_was_never_compared_directly_is_compared_through_others():
    bouts = [Bout(0, 1, FIRST, prompt) for prompt in range(20)] + [
        Bout(0, 1, SECOND, prompt) for prompt in range(20, 25)
    ]
    bouts += [bout._replace(first=1, second=2) for bout in bouts]
    found = rate(bouts, 3)
    assert found.lead(0, 2) == pytest.approx(found.lead(0, 1) + found.lead(1, 2))
    assert found.lead(0, 1) == pytest.approx(found.lead(1, 2))
    assert found.lead_interval(0, 2)[0] > 0


def test_names_play_no_part():
    bouts = simulated(np.array([1.0, 0.0, -1.0]), 0.0, prompts=30, each=4, seed=3)
    turned = [Bout(2 - bout.second, 2 - bout.first, (SECOND, FIRST, TIE)[bout.outcome], bout.prompt) for bout in bouts]
    assert rate(turned, 3).strengths == pytest.approx(rate(bouts, 3).strengths[::-1])


def test_the_same_votes_give_the_same_numbers():
    bouts = simulated(np.array([1.0, 0.0, -1.0]), 0.0, prompts=10, each=4, seed=3)
    assert np.array_equal(rate(bouts, 3).draws, rate(bouts, 3).draws)


def test_without_votes_all_are_equal():
    found = rate([], 3)
    assert found.strengths == pytest.approx([0, 0, 0])
    assert found.interval(0)[1] - found.interval(0)[0] > 1000


@settings(max_examples=40, deadline=None)
@given(arrays(np.float64, (2, 6, 3), elements=st.sampled_from([1e-4, 0.1, 1.0, 30.0, 1e4])))
def test_any_counts_have_their_maximum(counts):
    """There what is expected of each contestant, won and half of tied, is what happened; so for ties."""
    model = Davidson(4)
    for table, found in zip(counts, model.fit(counts), strict=True):
        expected = table.sum(axis=1, keepdims=True) * chances(found[:-1], found[-1])
        assert found[:-1].sum() == pytest.approx(0, abs=1e-6)
        near = 1e-6 * table.sum()
        assert expected[:, TIE].sum() == pytest.approx(table[:, TIE].sum(), abs=near)
        for one in range(4):
            assert _score(expected, model.pairs, one) == pytest.approx(_score(table, model.pairs, one), abs=near)


def _score(table: np.ndarray, pairs: list[tuple[int, int]], one: int) -> float:
    return sum(row[pair.index(one)] + row[TIE] / 2 for row, pair in zip(table, pairs, strict=True) if one in pair)
