"""What a scene shows, before it is laid out or said; and the combinations that training never sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b

from limner.data.dice import Dice
from limner.data.scenes.artwork import Artwork, Thing
from limner.data.scenes.grounds import NAMED, SHADES, VARIANTS, Colour, main_colours
from limner.data.scenes.shapes import COLOURS
from limner.data.scenes.truth import Ground
from limner.data.scenes.words import noun

KINDS = ("single", "shape", "two", "relation", "count", "many", "name", "keywords", "language")
RELATIONS = {
    "left of": 4,
    "right of": 4,
    "above": 4,
    "below": 4,
    "on top of": 3,
    "inside": 3,
    "between": 3,
    "corners": 3,
}
HELD_OUT_PERCENT = 10
# Chosen so that the shapes held out are spread over forms and colours, and no red heart or yellow star is among them.
SALT = b"182"
WHITE = Ground()

# What a thing must show beside its ground: this share of its ink, at this distance in RGB.
VISIBLE_PERCENT, DISTANCE = 35, 90
FRAMES = ("circle", "square", "heart", "hexagon", "diamond", "ring")

# Which combinations make a scene of a kind count as unseen; a bare name has none.
PRIMARY = {
    "single": ("ground",),
    "shape": ("shape",),
    "two": ("relation",),
    "relation": ("relation",),
    "count": ("count",),
    "many": ("ground", "shape"),
    "keywords": ("ground",),
    "language": ("ground",),
}
# Of which one is as good as its mirror image.
MIRRORED = {"right of": "left of", "below": "above"}
SYMMETRIC = ("beside", "corners")


@dataclass(frozen=True, slots=True)
class Plan:
    """`cast` holds the different things, in the order in which the caption will name them."""

    kind: str
    cast: tuple[Thing, ...]
    relation: str = ""
    count: int = 1
    ground: Ground = WHITE

    def combinations(self) -> list[str]:
        """What may be held out, each as "sort|...": ground, shape, relation and count."""
        names = [thing.name for thing in self.cast]
        found = [f"shape|{thing.shape}|{thing.colour}" for thing in self.cast if thing.shape]
        if not self.ground.white:
            found += [f"ground|{name}|{self.ground.key}" for name in names]
        if self.count > 1:
            found.append(f"count|{self.count}|{names[0]}")
        if self.relation and len(names) > 1:
            found += relations(names, self.relation)
        return found

    @property
    def clear(self) -> bool:
        """Whether every thing can be seen, and no two look the same."""
        if len({thing.looks for thing in self.cast}) < len(self.cast):
            return False
        if self.relation == "inside" and not stands_out(self.cast[0], (self.cast[1].ink[0][:3],)):
            return False
        if self.ground.white:
            return all(thing.colour != "white" for thing in self.cast)
        return all(stands_out(thing, main_colours(self.ground)) for thing in self.cast)


def relations(names: list[str], relation: str) -> list[str]:
    """One way to write each (thing, relation, thing), whichever way round the caption says it."""
    if relation == "between":
        return [f"relation|{names[0]}|between|{other}" for other in names[1:]]
    if relation in SYMMETRIC:
        names = sorted(names)
    elif relation in MIRRORED:
        names, relation = names[::-1], MIRRORED[relation]
    return [f"relation|{names[0]}|{relation}|{names[1]}"]


@lru_cache(1 << 17)
def held_out(combination: str) -> bool:
    """Whether training never shows `combination`: one in ten, by a hash that no seed changes."""
    digest = blake2b(combination.encode(), digest_size=8, salt=SALT).digest()
    return int.from_bytes(digest, "little") * 100 >> 64 < HELD_OUT_PERCENT


@lru_cache(1 << 16)
def stands_out(thing: Thing, behind: tuple[Colour, ...]) -> bool:
    """Whether enough of the thing's ink differs from every colour behind it."""
    seen = sum(
        share
        for *ink, share in thing.ink
        if all(sum((a - b) ** 2 for a, b in zip(ink, colour, strict=True)) > DISTANCE**2 for colour in behind)
    )
    return seen >= VISIBLE_PERCENT


def allowed(plan: Plan, split: str) -> bool:
    """Whether the split may show it: `unseen` must hold something of its own kind that training never shows."""
    if split != "unseen":
        return not any(map(held_out, plan.combinations()))
    return any(held_out(one) for one in plan.combinations() if one.split("|")[0] in PRIMARY[plan.kind])


def draw_plan(dice: Dice, kind: str, split: str, artwork: Artwork) -> Plan:
    """The first plan of `kind` that can be seen clearly and that the split may show."""
    for _ in range(10_000):
        plan = PLANNERS[kind](dice, artwork)
        if plan.clear and allowed(plan, split):
            return plan
    raise AssertionError(f"no scene of kind {kind} for split {split}")


def _ground(dice: Dice) -> Ground:
    """Half of the time white and not said."""
    return WHITE if dice.chance(45) else _said_ground(dice)


def _said_ground(dice: Dice) -> Ground:
    sort = dice.weighted({"plain": 50, "named": 42, "gradient": 8})
    if sort == "plain":
        return Ground(colours=(dice.pick(tuple(SHADES)),), said=True)
    if sort == "named":
        return Ground(dice.pick(NAMED), (), "", dice.below(VARIANTS), True)
    first = dice.pick(tuple(SHADES))
    last = dice.pick([colour for colour in SHADES if _differ(SHADES[first], SHADES[colour])])
    return Ground("gradient", (first, last), dice.pick(("down", "down", "across")), 0, True)


def _differ(a: Colour, b: Colour) -> bool:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) > 120**2


def _anything(dice: Dice, artwork: Artwork) -> Thing:
    return dice.pick(artwork.shapes if dice.chance(25) else artwork.emoji)


def _single(dice: Dice, artwork: Artwork) -> Plan:
    return Plan("single", (dice.pick(artwork.emoji),), ground=_ground(dice))


def _shape(dice: Dice, artwork: Artwork) -> Plan:
    return Plan("shape", (dice.pick(artwork.shapes),), ground=_ground(dice))


def _two(dice: Dice, artwork: Artwork) -> Plan:
    return Plan("two", (_anything(dice, artwork), _anything(dice, artwork)), "beside", ground=_ground(dice))


def _relation(dice: Dice, artwork: Artwork) -> Plan:
    relation = dice.weighted(RELATIONS)
    things = [_anything(dice, artwork) for _ in range(3 if relation == "between" else 2)]
    if relation == "inside":
        things[1] = dice.pick([shape for shape in artwork.shapes if shape.shape in FRAMES])
    if relation == "corners" and dice.chance(50) and noun(things[0]).countable:
        return Plan("relation", (things[0],), relation, 4, _ground(dice))
    return Plan("relation", tuple(things), relation, ground=_ground(dice))


def _count(dice: Dice, artwork: Artwork) -> Plan:
    thing = _anything(dice, artwork)
    while not noun(thing).countable:
        thing = _anything(dice, artwork)
    return Plan("count", (thing,), count=2 + dice.below(3), ground=_ground(dice))


def _many(dice: Dice, artwork: Artwork) -> Plan:
    things = tuple(_anything(dice, artwork) for _ in range(3 + dice.below(2)))
    return Plan("many", things, ground=_ground(dice))


def _name(dice: Dice, artwork: Artwork) -> Plan:
    return Plan("name", (dice.pick(artwork.emoji),))


def _keywords(dice: Dice, artwork: Artwork) -> Plan:
    return Plan("keywords", (dice.pick(artwork.emoji),), ground=_ground(dice))


def _language(dice: Dice, artwork: Artwork) -> Plan:
    thing = dice.pick(artwork.emoji)
    while not thing.names:
        thing = dice.pick(artwork.emoji)
    plain = Ground(colours=(dice.pick(tuple(COLOURS)),), said=True)
    return Plan("language", (thing,), ground=plain if dice.chance(35) else WHITE)


PLANNERS = {
    "single": _single,
    "shape": _shape,
    "two": _two,
    "relation": _relation,
    "count": _count,
    "many": _many,
    "name": _name,
    "keywords": _keywords,
    "language": _language,
}
