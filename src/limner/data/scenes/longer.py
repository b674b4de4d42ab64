"""Scenes longer than any in training: five things to a picture, where training shows four at most."""

from __future__ import annotations

from limner.data.dice import Dice
from limner.data.scenes.artwork import Thing, artwork
from limner.data.scenes.captions import english_caption
from limner.data.scenes.layout import CORNERED, MIDDLE, SIDE, SMALL, Layout, placed
from limner.data.scenes.plan import Plan, allowed
from limner.data.scenes.truth import Truth

THINGS = 5
EDGE = CORNERED // 2
SPOTS = (
    (EDGE, EDGE), (SIDE - EDGE, EDGE), (MIDDLE, MIDDLE), (EDGE, SIDE - EDGE), (SIDE - EDGE, SIDE - EDGE),
)  # fmt: skip


def lengthened(truth: Truth, split: str, dice: Dice) -> Truth:
    """A scene of kind "many" with things added until there are five, as the split allows them."""
    pack = artwork()
    plan = Plan("many", tuple(pack.things[one.thing] for one in truth.things), ground=truth.ground)
    while len(plan.cast) < THINGS:
        longer = Plan("many", (*plan.cast, dice.pick(pack.emoji)), ground=plan.ground)
        if longer.clear and allowed(longer, split):
            plan = longer
    layout = _five(plan.cast)
    caption, form = english_caption(plan, layout, dice)
    return Truth(caption, form, "many", layout.things, layout.subjects, "", 1, plan.ground)


def _five(things: tuple[Thing, ...]) -> Layout:
    """As on a die, the middle one smaller."""
    stand = tuple(
        placed(thing, *spot, SMALL if spot == (MIDDLE, MIDDLE) else CORNERED)
        for thing, spot in zip(things, SPOTS, strict=True)
    )
    return Layout(stand, tuple(range(THINGS)))
