"""Where the things of a plan stand on the canvas of 128 x 128, and how large they are.

What the caption will not say varies little; sizes are few, so that resized pictures can be kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from limner.data.artwork import Thing
from limner.data.scene_dice import Dice
from limner.data.scene_plan import Plan
from limner.data.scene_truth import Placed

SIDE = 128
PLACES = {
    "top left": (30, 30), "top": (64, 28), "top right": (98, 30),
    "left": (28, 64), "middle": (64, 64), "right": (100, 64),
    "bottom left": (30, 98), "bottom": (64, 100), "bottom right": (98, 98),
}  # fmt: skip
CORNERS: tuple[str, ...] = ("top left", "top right", "bottom left", "bottom right")
ROWS = {2: ((33, 64), (95, 64)), 3: ((23, 64), (64, 64), (105, 64))}
SLOTS = {3: ((34, 34), (94, 34), (64, 94)), 4: ((34, 34), (94, 34), (34, 94), (94, 94))}
SMALL, PLACED, ALONE, BIG = (28, 32, 36), (44, 48, 52), (72, 80, 96), (112, 120)


@dataclass(frozen=True, slots=True)
class Layout:
    """`things` in drawing order, `subjects` their places in the plan's order, `arrangement` what may be said of it."""

    things: tuple[Placed, ...]
    subjects: tuple[int, ...]
    arrangement: str = ""


def lay_out(plan: Plan, dice: Dice) -> Layout:
    if plan.kind == "two":
        return _row(plan.cast, dice, (44, 52), reach=4)
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


def _alone(thing: Thing, dice: Dice, sized: bool, put: bool) -> Layout:
    size = dice.pick(("small", "big")) if sized else ""
    place = dice.pick(tuple(PLACES)) if put and size != "big" else ""
    sides = {"small": SMALL, "big": BIG}.get(size, PLACED if place else ALONE)
    side = dice.pick(sides)
    x, y = PLACES[place or "middle"]
    reach = 4 if place or size == "big" else 8
    return Layout((placed(thing, x + dice.jitter(reach), y + dice.jitter(reach), side, size, place),), (0,))


def _row(things: tuple[Thing, ...], dice: Dice, sides: tuple[int, ...], *, reach: int) -> Layout:
    """From left to right, in the order in which they are named."""
    side, lift = dice.pick(sides), dice.jitter(6)
    spots = ROWS[len(things)]
    slack = min(reach, (spots[1][0] - spots[0][0] - side - 4) // 2)
    row = (placed(thing, x + dice.jitter(slack), y + lift, side) for thing, (x, y) in zip(things, spots, strict=True))
    return Layout(tuple(row), tuple(range(len(things))))


def _grid(things: tuple[Thing, ...], dice: Dice, sides: tuple[int, ...]) -> Layout:
    """In reading order, two above and the rest below."""
    side = dice.pick(sides)
    spots = zip(things, SLOTS[len(things)], strict=True)
    grid = tuple(placed(thing, x + dice.jitter(4), y + dice.jitter(4), side) for thing, (x, y) in spots)
    return Layout(grid, tuple(range(len(things))))


def _count(plan: Plan, dice: Dice) -> Layout:
    things = plan.cast * plan.count
    if plan.count == 2:
        return _row(things, dice, (44, 48), reach=4)
    if plan.count == 3 and dice.chance(30):
        row = _row(things, dice, (32, 36), reach=1)
        return Layout(row.things, row.subjects, "in a row")
    return _grid(things, dice, (44, 48))


def _many(things: tuple[Thing, ...], dice: Dice) -> Layout:
    style = dice.pick(("list", "places", "sizes"))
    if style == "list":
        return _grid(things, dice, (44, 48))
    if style == "places":
        return Layout(_cornered(things, dice), tuple(range(len(things))), "places")
    big = dice.below(len(things))
    small = (big + 1 + dice.below(len(things) - 1)) % len(things)
    spots = SLOTS[len(things)]
    sizes = {big: ("big", 56), small: ("small", 28)}
    grid = []
    for number, (thing, (x, y)) in enumerate(zip(things, spots, strict=True)):
        size, side = sizes.get(number, ("", 44))
        grid.append(placed(thing, x + dice.jitter(2), y + dice.jitter(2), side, size))
    return Layout(tuple(grid), tuple(range(len(things))), "sizes")


def _cornered(things: tuple[Thing, ...], dice: Dice) -> tuple[Placed, ...]:
    """Each in a place of its own that the caption names."""
    free = ["top left", "top right", "bottom left", "bottom right", "middle"]
    found = []
    for thing in things:
        place = free.pop(dice.below(len(free)))
        x, y = PLACES[place]
        far = ((x > 64) - (x < 64), (y > 64) - (y < 64))
        side = 36
        found.append(placed(thing, x + 7 * far[0] + dice.jitter(2), y + 7 * far[1] + dice.jitter(2), side, "", place))
    return tuple(found)


def _related(plan: Plan, dice: Dice) -> Layout:
    relation, cast = plan.relation, plan.cast
    if relation in ("left of", "right of"):
        return _facing(cast, dice, across=True, first=relation == "left of")
    if relation in ("above", "below"):
        return _facing(cast, dice, across=False, first=relation == "above")
    if relation == "between":
        row = _row((cast[1], cast[0], cast[2]), dice, (36,), reach=1)
        return Layout(row.things, (1, 0, 2))
    if relation == "corners":
        return _corners(plan, dice)
    return _inside(cast, dice) if relation == "inside" else _on_top(cast, dice)


def _facing(cast: tuple[Thing, ...], dice: Dice, *, across: bool, first: bool) -> Layout:
    side, lift = dice.pick((44, 52)), dice.jitter(6)
    near, far = 33 + dice.jitter(3), 95 + dice.jitter(3)
    along = (near, far) if first else (far, near)
    spots = [(one, 64 + lift) if across else (64 + lift, one) for one in along]
    return Layout(tuple(placed(thing, x, y, side) for thing, (x, y) in zip(cast, spots, strict=True)), (0, 1))


def _on_top(cast: tuple[Thing, ...], dice: Dice) -> Layout:
    """The ink of the upper one stands on the ink of the lower one, a little into it."""
    upper, lower, x = 48, 64, 64 + dice.jitter(6)
    base = placed(cast[1], x, 92, lower)
    top = base.box[1] + cast[1].box[1] * lower // SIDE
    feet = cast[0].box[3] * upper // SIDE
    y = top - feet + upper // 10 + upper // 2
    return Layout((base, placed(cast[0], x + dice.jitter(3), y, upper)), (1, 0))


def _inside(cast: tuple[Thing, ...], dice: Dice) -> Layout:
    x, y = 64 + dice.jitter(4), 64 + dice.jitter(4)
    frame = placed(cast[1], x, y, 120)
    side = 40 if cast[1].shape in ("diamond", "ring") else 48
    return Layout(
        (frame, placed(cast[0], (frame.box[0] + frame.box[2]) // 2, (frame.box[1] + frame.box[3]) // 2, side)), (1, 0)
    )


def _corners(plan: Plan, dice: Dice) -> Layout:
    places, things = CORNERS, plan.cast * plan.count
    if plan.count == 1:
        first = dice.pick(CORNERS)
        places = (first, dice.pick([corner for corner in CORNERS if corner != first]))
    side = dice.pick((36, 40))
    found = []
    for thing, place in zip(things, places, strict=True):
        x, y = PLACES[place]
        found.append(placed(thing, x + (-8 if x < 64 else 8), y + (-8 if y < 64 else 8), side, "", place))
    return Layout(tuple(found), tuple(range(len(found))))
