"""Where the things of a plan stand on the canvas of 128 x 128, and how large they are.

What the caption does not say does not vary, sizes are few, and nearly all edges lie on a grid of 16 pixels: a small
budget is spent on what things look like, not on offsets that nobody asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from limner.data.dice import Dice
from limner.data.scenes.artwork import Thing
from limner.data.scenes.plan import Plan
from limner.data.scenes.truth import Placed

SIDE = 128
LOW, MIDDLE, HIGH = 32, 64, 96  # where the centres lie
PLACES = {
    "top left": (LOW, LOW), "top": (MIDDLE, LOW), "top right": (HIGH, LOW),
    "left": (LOW, MIDDLE), "middle": (MIDDLE, MIDDLE), "right": (HIGH, MIDDLE),
    "bottom left": (LOW, HIGH), "bottom": (MIDDLE, HIGH), "bottom right": (HIGH, HIGH),
}  # fmt: skip
CORNERS: tuple[str, ...] = ("top left", "top right", "bottom left", "bottom right")
ROWS = {2: ((LOW, MIDDLE), (HIGH, MIDDLE)), 3: ((16, MIDDLE), (MIDDLE, MIDDLE), (112, MIDDLE))}
SLOTS = {
    3: ((LOW, LOW), (HIGH, LOW), (MIDDLE, HIGH)),
    4: ((LOW, LOW), (HIGH, LOW), (LOW, HIGH), (HIGH, HIGH)),
}
SMALL, CORNERED, HALF, ALONE, BIG = 32, 48, 64, 96, 112


@dataclass(frozen=True, slots=True)
class Layout:
    """`things` in drawing order, `subjects` their places in the plan's order, `arrangement` what may be said of it."""

    things: tuple[Placed, ...]
    subjects: tuple[int, ...]
    arrangement: str = ""


def lay_out(plan: Plan, dice: Dice) -> Layout:
    if plan.kind == "two":
        return _row(plan.cast, HALF)
    if plan.kind == "many":
        return _many(plan.cast, dice)
    if plan.kind == "count":
        return _count(plan, dice)
    if plan.kind == "relation":
        return _related(plan, dice)
    free = plan.kind in ("single", "shape")
    return _alone(plan.cast[0], dice, free and dice.chance(18), free and dice.chance(22))


def placed(thing: Thing, x: int, y: int, side: int, size: str = "", place: str = "") -> Placed:
    """Centred at (x, y), moved where it would leave the canvas."""
    left = min(max(x - side // 2, 0), SIDE - side)
    top = min(max(y - side // 2, 0), SIDE - side)
    box = (left, top, left + side, top + side)
    return Placed(thing.index, thing.name, box, thing.shape, thing.colour, size, place)


def corner(thing: Thing, place: str) -> Placed:
    """In the corner itself, which is farther out than the place of the same name."""
    x, y = (0 if middle < MIDDLE else SIDE for middle in PLACES[place])
    return placed(thing, x, y, CORNERED, "", place)


def _alone(thing: Thing, dice: Dice, sized: bool, put: bool) -> Layout:
    size = dice.pick(("small", "big")) if sized else ""
    place = dice.pick(tuple(PLACES)) if put and size != "big" else ""
    side = {"small": SMALL, "big": BIG}.get(size, HALF if place else ALONE)
    return Layout((placed(thing, *PLACES[place or "middle"], side, size, place),), (0,))


def _row(things: tuple[Thing, ...], side: int) -> Layout:
    """From left to right, in the order in which they are named."""
    return _standing(things, ROWS[len(things)], side)


def _grid(things: tuple[Thing, ...]) -> Layout:
    """In reading order, two above and the rest below."""
    return _standing(things, SLOTS[len(things)], HALF)


def _standing(things: tuple[Thing, ...], spots: tuple[tuple[int, int], ...], side: int) -> Layout:
    stand = tuple(placed(thing, x, y, side) for thing, (x, y) in zip(things, spots, strict=True))
    return Layout(stand, tuple(range(len(things))))


def _count(plan: Plan, dice: Dice) -> Layout:
    things = plan.cast * plan.count
    if plan.count == 2:
        return _row(things, HALF)
    if plan.count == 3 and dice.chance(30):
        row = _row(things, SMALL)
        return Layout(row.things, row.subjects, "in a row")
    return _grid(things)


def _many(things: tuple[Thing, ...], dice: Dice) -> Layout:
    style = dice.pick(("list", "places", "sizes"))
    if style == "list":
        return _grid(things)
    if style == "places":
        return Layout(_cornered(things, dice), tuple(range(len(things))), "places")
    big = dice.below(len(things))
    small = (big + 1 + dice.below(len(things) - 1)) % len(things)
    sizes = {big: ("big", HALF), small: ("small", SMALL)}
    spots = enumerate(zip(things, SLOTS[len(things)], strict=True))
    grid = []
    for number, (thing, (x, y)) in spots:
        size, side = sizes.get(number, ("", CORNERED))
        grid.append(placed(thing, x, y, side, size))
    return Layout(tuple(grid), tuple(range(len(things))), "sizes")


def _cornered(things: tuple[Thing, ...], dice: Dice) -> tuple[Placed, ...]:
    """Each in a place of its own that the caption names."""
    free = [*CORNERS, "middle"]
    places = [free.pop(dice.below(len(free))) for _ in things]
    return tuple(
        placed(thing, *PLACES[place], SMALL, "", place) if place == "middle" else corner(thing, place)
        for thing, place in zip(things, places, strict=True)
    )


def _related(plan: Plan, dice: Dice) -> Layout:
    relation, cast = plan.relation, plan.cast
    if relation in ("left of", "right of"):
        return _facing(cast, across=True, first=relation == "left of")
    if relation in ("above", "below"):
        return _facing(cast, across=False, first=relation == "above")
    if relation == "between":
        row = _row((cast[1], cast[0], cast[2]), SMALL)
        return Layout(row.things, (1, 0, 2))
    if relation == "corners":
        return _corners(plan, dice)
    return _inside(cast) if relation == "inside" else _on_top(cast)


def _facing(cast: tuple[Thing, ...], *, across: bool, first: bool) -> Layout:
    along = (LOW, HIGH) if first else (HIGH, LOW)
    spots = tuple((one, MIDDLE) if across else (MIDDLE, one) for one in along)
    return _standing(cast, spots, HALF)


def _on_top(cast: tuple[Thing, ...]) -> Layout:
    """The ink of the upper one stands on the ink of the lower one, a little into it."""
    base = placed(cast[1], MIDDLE, HIGH, HALF)
    head = base.box[1] + cast[1].box[1] * HALF // SIDE
    feet = cast[0].box[3] * HALF // SIDE
    y = head - feet + HALF // 10 + HALF // 2
    return Layout((base, placed(cast[0], MIDDLE, y, HALF)), (1, 0))


def _inside(cast: tuple[Thing, ...]) -> Layout:
    side = SMALL if cast[1].shape in ("diamond", "ring") else CORNERED
    return Layout((placed(cast[1], MIDDLE, MIDDLE, SIDE), placed(cast[0], MIDDLE, MIDDLE, side)), (1, 0))


def _corners(plan: Plan, dice: Dice) -> Layout:
    places, things = CORNERS, plan.cast * plan.count
    if plan.count == 1:
        first = dice.pick(CORNERS)
        places = (first, dice.pick([one for one in CORNERS if one != first]))
    found = tuple(corner(thing, place) for thing, place in zip(things, places, strict=True))
    return Layout(found, tuple(range(len(found))))
