"""What the table says of votes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from limner.evaluate.arena.records import Choice, Contestant, Entry, Vote
from limner.evaluate.arena.standings import Record, labels, standings
from limner.evaluate.arena.subjects import Subject

ANNE, BETH, CLEO = (Contestant(name, f"{name} {'0' * 8}", name) for name in ("anne", "beth", "cleo"))


def vote(number: int, left: Contestant, right: Contestant, choice: Choice, *, prompts: int = 10**6) -> Vote:
    sides = (Entry(one, "", Path("x.png")) for one in (left, right))
    return Vote(str(number), choice, 1, "", "", Subject(str(number % prompts), 0), *sides)


def duel(won: int, tied: int, lost: int) -> list[Vote]:
    """Anne's votes against Beth, who is on the left as often as on the right."""
    choices = ["anne"] * won + ["tie"] * tied + ["beth"] * lost
    found = []
    for number, choice in enumerate(choices):
        pair = (ANNE, BETH) if number % 2 else (BETH, ANNE)
        side = "tie" if choice == "tie" else ("left", "right")[pair[1].name == choice]
        found.append(vote(number, *pair, side))
    return found


def test_votes_are_counted_for_whom_they_were_meant():
    table = standings(duel(30, 6, 8))
    assert [(row.name, row.record) for row in table.standings] == [
        ("anne", Record(30, 6, 8)),
        ("beth", Record(8, 6, 30)),
    ]
    [duel_] = table.duels
    assert (duel_.first, duel_.second, duel_.record, duel_.verdict) == ("anne", "beth", Record(30, 6, 8), "anne")
    assert duel_.lead == pytest.approx(table.standings[0].rating - table.standings[1].rating)
    assert (table.votes, table.prompts, table.sessions) == (44, 44, 1)
    assert (table.ties.right, table.ties.trials) == (6, 44)
    assert (table.left.right, table.left.trials) == (19, 38)
    assert table.notes == []


def test_a_lead_within_its_doubt_is_open():
    [row] = standings(duel(11, 0, 9)).duels
    assert row.verdict == "open"
    assert row.interval[0] < 0 < row.interval[1]


def test_the_best_comes_first_whatever_their_order():
    votes = [vote(number, BETH, CLEO, "right") for number in range(30)]
    votes += [vote(number, CLEO, ANNE, "right") for number in range(30)]
    table = standings(votes)
    assert [row.name for row in table.standings] == ["anne", "cleo", "beth"]
    assert [(row.first, row.second) for row in table.duels] == [("anne", "cleo"), ("anne", "beth"), ("cleo", "beth")]
    assert table.duels[1].record == Record(0, 0, 0)
    assert [row.rating for row in table.standings] == sorted((row.rating for row in table.standings), reverse=True)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_favoured_side_is_noted(side):
    table = standings([vote(number, *((ANNE, BETH), (BETH, ANNE))[number % 2], side) for number in range(40)])
    assert table.left.share == (side == "left")
    assert [f"the {side} picture was favoured" in note for note in table.notes] == [True]
    assert table.duels[0].verdict == "open"


def test_too_few_prompts_are_noted():
    [note] = standings([vote(number, ANNE, BETH, "tie", prompts=19) for number in range(50)]).notes
    assert "on 19 prompts" in note


def test_two_of_one_name_are_told_apart():
    other = Contestant("anne", "fedcba9876543210", "elsewhere")
    assert labels([ANNE, other, BETH]) == {ANNE: "anne (anne 000)", other: "anne (fedcba98)", BETH: "beth"}


def test_no_votes_are_no_table():
    table = standings([])
    assert (table.standings, table.duels, table.votes) == ((), (), 0)
    assert json.loads(json.dumps(table.to_json()))["votes"] == 0


def test_the_table_as_json():
    row = json.loads(json.dumps(standings(duel(30, 6, 8)).to_json()))
    assert row["standings"][0]["record"] == {"won": 30, "tied": 6, "lost": 8}
    assert row["duels"][0]["verdict"] == "anne"
    assert row["left"]["n"] == 38
