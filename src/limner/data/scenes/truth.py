"""What is true of a scene: enough to draw it, and all that a scorer may ask of the picture."""

from __future__ import annotations

import json
from dataclasses import dataclass

from limner.core import parse, unparse

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Placed:
    """Thing number `thing` of the artwork, drawn into `box` (x0, y0, x1, y1) of the 128 x 128 canvas.

    `shape` and `colour` are set for shapes. `size` ("small", "big") and `place` ("top left", ...) are
    what the caption says of it, empty where it says nothing.
    """

    thing: int
    name: str
    box: Box
    shape: str = ""
    colour: str = ""
    size: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """What is behind the things: "plain" (one colour), "gradient" (two), or a name such as "beach".

    `direction` is "down" or "across" for a gradient; `variant` numbers the drawings of a named ground;
    `said` tells whether the caption speaks of it. What is not said is plain white.
    """

    name: str = "plain"
    colours: tuple[str, ...] = ("white",)
    direction: str = ""
    variant: int = 0
    said: bool = False

    @property
    def key(self) -> str:
        """What combinations are counted by: the direction and the variant play no part."""
        return " ".join((self.name, *sorted(self.colours))) if self.name == "gradient" else self.title

    @property
    def title(self) -> str:
        return self.colours[0] if self.name == "plain" else self.name

    @property
    def white(self) -> bool:
        return self.name == "plain" and self.colours == ("white",)


@dataclass(frozen=True, slots=True)
class Truth:
    """A scene. `things` stand in drawing order, the later over the earlier.

    `relation` holds between `things` in the order that `subjects` gives: the first is left of the
    second, between the second and the third, and so on. `count` is the number that the caption says
    of one thing, 1 otherwise. `language` is that of the caption.
    """

    caption: str
    form: str
    kind: str
    things: tuple[Placed, ...]
    subjects: tuple[int, ...]
    relation: str
    count: int
    ground: Ground
    language: str = "en"

    @property
    def cast(self) -> tuple[Placed, ...]:
        """The things in the order in which the relation names them."""
        return tuple(self.things[place] for place in self.subjects)

    def to_json(self) -> str:
        return json.dumps(unparse(self), ensure_ascii=False, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Truth:
        return parse(Truth, json.loads(text), "truth")
