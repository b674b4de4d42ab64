"""What votes say: ratings, duels, ties, and whether the left picture was favoured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from limner.core import unparse
from limner.evaluate.arena.ratings import FIRST, SECOND, TIE, Bout, Ratings, rate
from limner.evaluate.arena.records import Contestant, Vote
from limner.evaluate.table import Tally

FEW = 20  # prompts, below which intervals are too narrow (docs/arena.md)
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Record:
    """Votes from one side's point of view."""

    won: int
    tied: int
    lost: int

    @property
    def votes(self) -> int:
        return self.won + self.tied + self.lost


@dataclass(frozen=True, slots=True)
class Standing:
    """A contestant in the table; `rating` is on Elo's scale with mean 1000, `interval` its 95 %."""

    name: str
    origin: str
    rating: float
    interval: Interval
    record: Record


@dataclass(frozen=True, slots=True)
class Duel:
    """Two contestants, the higher rated first: `lead` is by how much, `interval` its 95 %."""

    first: str
    second: str
    lead: float
    interval: Interval
    record: Record

    @property
    def verdict(self) -> str:
        """Who is better, where the interval says so."""
        low, high = self.interval
        return self.first if low > 0 else self.second if high < 0 else "open"


@dataclass(frozen=True, slots=True)
class Standings:
    """The whole table. `left` counts the votes for the left picture among those for either."""

    standings: tuple[Standing, ...]
    duels: tuple[Duel, ...]
    votes: int
    prompts: int
    sessions: int
    ties: Tally
    left: Tally

    @property
    def notes(self) -> list[str]:
        """What a reader of the table must know."""
        low, high = self.left.interval
        notes = []
        if self.prompts < FEW:
            noun = "prompt" if self.prompts == 1 else "prompts"
            notes.append(f"the votes are on {self.prompts} {noun}; from fewer than {FEW} the intervals are too narrow")
        if self.left.trials and not low <= 0.5 <= high:
            notes.append(f"the {'left' if low > 0.5 else 'right'} picture was favoured more than chance explains")
        return notes

    def to_json(self) -> dict[str, Any]:
        duels = [unparse(duel) | {"verdict": duel.verdict} for duel in self.duels]
        shares = {"ties": self.ties.to_json(), "left": self.left.to_json()}
        counts = {"votes": self.votes, "prompts": self.prompts, "sessions": self.sessions}
        return counts | shares | {"standings": unparse(self.standings), "duels": duels, "notes": self.notes}


def standings(votes: Iterable[Vote]) -> Standings:
    """The table of these votes, the best first. Computed anew from the votes alone, the same each time."""
    votes = list(votes)
    contestants = list(dict.fromkeys(entry.contestant for vote in votes for entry in (vote.left, vote.right)))
    bouts = _bouts(votes, contestants)
    choices = Counter(vote.choice for vote in votes)
    decided = choices["left"] + choices["right"]
    ratings = rate(bouts, len(contestants)) if votes else None
    return Standings(
        standings=_table(bouts, contestants, ratings) if ratings else (),
        duels=_duels(bouts, contestants, ratings) if ratings else (),
        votes=len(votes),
        prompts=len({vote.subject.prompt for vote in votes}),
        sessions=len({vote.session for vote in votes}),
        ties=Tally(choices["tie"], len(votes)),
        left=Tally(choices["left"], decided),
    )


def labels(contestants: Sequence[Contestant]) -> dict[Contestant, str]:
    """Names; where two have the same, with the beginnings of their hashes."""
    often = Counter(one.name for one in contestants)
    return {one: f"{one.name} ({one.hash[:8]})" if often[one.name] > 1 else one.name for one in contestants}


def _bouts(votes: Sequence[Vote], contestants: Sequence[Contestant]) -> list[Bout]:
    place = {one: number for number, one in enumerate(contestants)}
    prompts = {prompt: number for number, prompt in enumerate(dict.fromkeys(vote.subject.prompt for vote in votes))}
    return [_bout(vote, place, prompts[vote.subject.prompt]) for vote in votes]


def _bout(vote: Vote, place: dict[Contestant, int], prompt: int) -> Bout:
    left, right = place[vote.left.contestant], place[vote.right.contestant]
    outcome = {"left": FIRST, "right": SECOND, "tie": TIE}[vote.choice]
    if left > right:
        outcome = {FIRST: SECOND, SECOND: FIRST, TIE: TIE}[outcome]
    return Bout(min(left, right), max(left, right), outcome, prompt)


def _table(bouts: Sequence[Bout], contestants: Sequence[Contestant], ratings: Ratings) -> tuple[Standing, ...]:
    names = labels(contestants)
    rows = [
        Standing(
            name=names[one],
            origin=one.origin,
            rating=ratings.rating(number),
            interval=ratings.interval(number),
            record=_record([_seen(bout, number) for bout in bouts if number in (bout.first, bout.second)]),
        )
        for number, one in enumerate(contestants)
    ]
    return tuple(sorted(rows, key=lambda row: -row.rating))


def _duels(bouts: Sequence[Bout], contestants: Sequence[Contestant], ratings: Ratings) -> tuple[Duel, ...]:
    names = labels(contestants)
    order = sorted(range(len(contestants)), key=lambda number: -ratings.rating(number))
    return tuple(
        Duel(
            first=names[contestants[one]],
            second=names[contestants[other]],
            lead=ratings.lead(one, other),
            interval=ratings.lead_interval(one, other),
            record=_record([_seen(bout, one) for bout in bouts if {bout.first, bout.second} == {one, other}]),
        )
        for one, other in combinations(order, 2)
    )


def _seen(bout: Bout, one: int) -> int:
    """The outcome, FIRST if it is for `one`."""
    return bout.outcome if bout.outcome == TIE or bout.first == one else SECOND - bout.outcome


def _record(outcomes: Sequence[int]) -> Record:
    return Record(outcomes.count(FIRST), outcomes.count(TIE), outcomes.count(SECOND))
