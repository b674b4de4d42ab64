"""Which pictures take their next step together.

All of them, while there is room. Where there is not, those that are due first: a picture is due at the time of its
coming plus `PATIENCE` times what it takes if it is drawn alone. So a short one overtakes long ones that came a little
before it, and nothing waits for ever: what came later than a picture is due goes behind it. First in, first out would
let each short picture wait for the long ones before it; the shortest first would starve the long ones.

Time here is work, in rooms: a step of as many pixels as there is room for is one.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)

PATIENCE = 4.0  # simulated at 80 % load: less favours who came first, more the short ones (tests/serve/studio)


@dataclass(slots=True)
class Place(Generic[Name]):
    """A picture's place in the batch. `alone` is one that takes no step with others: they failed together."""

    name: Name
    pixels: int
    due: float
    number: int
    alone: bool


class Batch(Generic[Name]):
    """The pictures in the making, of which `room` pixels are drawn well at once; one larger picture is drawn alone."""

    def __init__(self, room: int, *, patience: float = PATIENCE) -> None:
        assert room > 0, room
        self.room, self.patience = room, patience
        self._clock, self._count = 0.0, 0
        self._places: dict[Name, Place[Name]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def join(self, name: Name, *, pixels: int, steps: int, alone: bool = False) -> None:
        """A picture that has so many steps before it; it may take the first at once."""
        assert name not in self._places, name
        due = self._clock + self.patience * steps * self._rooms(pixels)
        self._places[name] = Place(name, pixels, due, self._count, alone)
        self._count += 1

    def leave(self, name: Name) -> None:
        """It is done, or nobody wants it any more."""
        self._places.pop(name, None)

    def choose(self) -> list[Name]:
        """Those that take a step now, in the order of their coming; the clock goes on by it."""
        waiting = sorted(self._places.values(), key=lambda one: (one.due, one.number))
        chosen = self._fitting(waiting)
        self._clock += sum(self._rooms(one.pixels) for one in chosen)
        return [one.name for one in sorted(chosen, key=lambda one: one.number)]

    def _fitting(self, waiting: list[Place[Name]]) -> list[Place[Name]]:
        chosen: list[Place[Name]] = []
        left = self.room
        for one in waiting:
            if not chosen and (one.alone or one.pixels >= left):
                return [one]
            if one.pixels <= left and not one.alone:
                chosen.append(one)
                left -= one.pixels
        return chosen

    def _rooms(self, pixels: int) -> float:
        return pixels / self.room
