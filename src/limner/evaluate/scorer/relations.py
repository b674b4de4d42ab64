"""Whether things stand as a relation says, judged by where they are and by nothing else.

A relation holds with more than half of the distance at which scenes are laid out; so a picture may stray, and a
picture of the contrary is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from limner.data.scenes.artwork import Thing
from limner.data.scenes.layout import CORNERED, PLACES
from limner.evaluate.scorer.evidence import Window

Edges = tuple[float, float, float, float]  # left, top, right, bottom

SIDE = 128
APART = 0.5  # of the mean side: between the centres of things that stand next to each other
STRAY = 10.0  # pixels between feet and what they stand on
CORNER = 30.0  # pixels from where a scene puts a thing into the corner


def ink(window: Window, thing: Thing) -> Edges:
    """The edges of the thing's opaque part, in pixels."""
    left, top, right, bottom = (edge * window.side / SIDE for edge in thing.box)
    return window.x + left, window.y + top, window.x + right, window.y + bottom


def overlap(a: Edges, b: Edges) -> float:
    """The common area as a part of the smaller one's."""
    across, down = (max(min(a[n + 2], b[n + 2]) - max(a[n], b[n]), 0.0) for n in (0, 1))
    return across * down / max(min((e[2] - e[0]) * (e[3] - e[1]) for e in (a, b)), 1.0)


def holds(relation: str, windows: Sequence[Window], things: Sequence[Thing], places: Sequence[str]) -> bool:
    """Whether `relation` is true of windows and things in the order in which it names them."""
    if relation == "corners":
        return all(_in_corner(window, place) for window, place in zip(windows, places, strict=True))
    if relation == "between":
        return _between(windows)
    first, second = windows[:2]
    if relation == "on top of":
        return _on_top(first, second, things)
    if relation == "inside":
        return _inside(ink(first, things[0]), ink(second, things[1]))
    directions = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}
    return relation not in directions or _towards(first, second, directions[relation])


def _towards(first: Window, second: Window, direction: tuple[int, int]) -> bool:
    """Whether `first` lies that way from `second`, and more that way than sideways."""
    dx, dy = (a - b for a, b in zip(first.centre, second.centre, strict=True))
    along = dx * direction[0] + dy * direction[1]
    across = abs(dx * direction[1]) + abs(dy * direction[0])
    return along > APART * (first.side + second.side) / 2 and along > across


def _between(windows: Sequence[Window]) -> bool:
    middle, *outer = windows
    left, right = sorted(outer, key=lambda window: window.x)
    return _towards(left, middle, (-1, 0)) and _towards(right, middle, (1, 0))


def _on_top(upper: Window, lower: Window, things: Sequence[Thing]) -> bool:
    """Its feet are at the other's head, and it stands over the other, not beside it."""
    above, below = ink(upper, things[0]), ink(lower, things[1])
    meant = below[1] + upper.side / 10
    return abs(above[3] - meant) <= STRAY and abs(upper.centre[0] - lower.centre[0]) <= lower.side / 2


def _inside(inner: Edges, outer: Edges) -> bool:
    slack = 0.05 * (outer[2] - outer[0])
    low = all(a >= b - slack for a, b in zip(inner[:2], outer[:2], strict=True))
    return low and all(a <= b + slack for a, b in zip(inner[2:], outer[2:], strict=True))


def _in_corner(window: Window, place: str) -> bool:
    x, y = (CORNERED / 2 if one < SIDE / 2 else SIDE - CORNERED / 2 for one in PLACES[place])
    return max(abs(window.centre[0] - x), abs(window.centre[1] - y)) <= CORNER
