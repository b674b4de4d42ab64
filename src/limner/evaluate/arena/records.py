"""What is known of a vote: who drew the two pictures, of what, how they were shown, and what was chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from limner.core import unparse
from limner.evaluate.arena.subjects import Subject

Choice = Literal["left", "right", "tie"]


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who drew pictures: a name for people, the hash by which it is known the next time, and what was typed for it."""

    name: str
    hash: str
    origin: str


@dataclass(frozen=True, slots=True)
class Hung:
    """A picture that takes part, by its number among all that ever did."""

    id: int
    path: Path


@dataclass(frozen=True, slots=True)
class Showing:
    """A pair as a person sees it; `choice` is None as long as there is no vote on it."""

    token: str
    prompt: str
    left: Hung
    right: Hung
    choice: Choice | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One side of a vote."""

    contestant: Contestant
    sha256: str
    path: Path

    def to_json(self) -> dict[str, str]:
        return {**unparse(self.contestant), "sha256": self.sha256, "path": str(self.path)}


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote with all that is known of it. Times are UTC, in ISO 8601."""

    token: str
    choice: Choice
    session: int
    shown: str
    decided: str
    subject: Subject
    left: Entry
    right: Entry

    def to_json(self) -> dict[str, Any]:
        about = {"token": self.token, "session": self.session, "shown": self.shown, "decided": self.decided}
        sides = {"left": self.left.to_json(), "right": self.right.to_json()}
        return {**about, **self.subject._asdict(), **sides, "choice": self.choice}
