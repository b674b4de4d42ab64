"""English captions for a plan as it is laid out: every word of them is true in the picture."""

from __future__ import annotations

import re

from limner.data.dice import Dice
from limner.data.scenes.artwork import Thing
from limner.data.scenes.layout import Layout
from limner.data.scenes.phrases import (
    COMMANDS,
    EVERY_CORNER,
    GRADIENT,
    LONG,
    NAMED,
    OPENINGS,
    PLAIN,
    PLAIN_LEAD,
    PLAIN_SHORT,
    RELATED,
    SIZES,
    WHERE,
)
from limner.data.scenes.plan import Plan
from limner.data.scenes.truth import Ground, Placed
from limner.data.scenes.words import NUMBERS, noun, with_article

FORMS = {"plain": 34, "opening": 16, "there": 8, "verb": 16, "lead": 8, "command": 6, "long": 4, "short": 8}
_ARTICLE = re.compile(r"(an?|the|both) ")
HERDS = {"animal-mammal": "a herd of {}", "animal-bird": "a flock of {}"}


def english_caption(plan: Plan, layout: Layout, dice: Dice) -> tuple[str, str]:
    """Caption and form."""
    if plan.kind == "name":
        return _name(plan.cast[0], dice)
    if plan.kind == "keywords":
        return _keywords(plan.cast[0], plan.ground, dice), "keywords"
    form = dice.weighted(FORMS)
    if form == "short" and plan.kind in ("single", "shape", "two", "many"):
        return _short(plan, layout, dice), "short"
    subject, plural = _subject(plan, layout, dice)
    if not _fits(form, subject, plan.ground):
        form = "plain"
    return finished(_sentence(form, subject, plural, plan.ground, dice), dice), form


def finished(words: str, dice: Dice) -> str:
    """Now and then a capital letter, a full stop, or both."""
    style = dice.weighted({"": 80, "Aa": 7, "a.": 5, "Aa.": 8})
    words = words[0].upper() + words[1:] if "Aa" in style else words
    return words + "." if "." in style else words


def _fits(form: str, subject: str, ground: Ground) -> bool:
    """A subject with a verb of its own takes no other; what is not said can neither lead nor end a sentence."""
    if " is " in subject or " are " in subject:
        return form == "plain"
    if form == "lead":
        return ground.said and ground.name != "gradient"
    return form != "short" and (form != "verb" or ground.said)


def _sentence(form: str, subject: str, plural: bool, ground: Ground, dice: Dice) -> str:
    if form == "lead":
        return _lead(ground, subject, dice)
    behind = _behind(ground, dice)
    if form == "verb":
        return subject + _verb(ground, plural, dice) + behind
    if form == "there":
        return f"there {'are' if plural and not _ARTICLE.match(subject) else 'is'} {subject}{behind}"
    frames = {"opening": OPENINGS, "command": COMMANDS, "long": LONG}.get(form, ("{}",))
    return dice.pick(frames).format(subject + behind)


def _verb(ground: Ground, plural: bool, dice: Dice) -> str:
    if ground.name in NAMED:
        return " " + dice.pick(NAMED[ground.name][3])[plural]
    return dice.pick(((" is shown", " are shown"), (" stands", " stand"), (" is", " are")))[plural]


def _behind(ground: Ground, dice: Dice) -> str:
    if not ground.said:
        return ""
    if ground.name in NAMED:
        return dice.pick(NAMED[ground.name][0])
    if ground.name == "gradient":
        x, y = ground.colours
        return dice.pick(GRADIENT[ground.direction]).format(x=x, y=y)
    return dice.pick(PLAIN).format(c=ground.colours[0], a=with_article(ground.colours[0]))


def _lead(ground: Ground, subject: str, dice: Dice) -> str:
    if ground.name in NAMED:
        return dice.pick(NAMED[ground.name][2]).format(s=subject)
    colour = ground.colours[0]
    return dice.pick(PLAIN_LEAD).format(c=colour, a=with_article(colour), s=subject)


def _ground_words(ground: Ground, dice: Dice) -> str:
    """As an item of a list."""
    if ground.name in NAMED:
        return dice.pick(NAMED[ground.name][1])
    if ground.name == "gradient":
        return _behind(ground, dice).removeprefix(" ")
    return dice.pick(PLAIN_SHORT).format(c=ground.colours[0])


# ---------------------------------------------------------------------------------------------------
# The subject: what stands on the ground, and whether it takes the verb's plural.


def _subject(plan: Plan, layout: Layout, dice: Dice) -> tuple[str, bool]:
    if plan.kind == "count":
        return _counted(plan, layout, dice)
    if plan.relation == "corners":
        return _cornered(plan, layout, dice)
    if plan.relation:
        return _related(plan, dice)
    phrases = [_phrase(thing, one, dice) for thing, one in zip(plan.cast, layout.things, strict=True)]
    if len(phrases) == 1:
        return phrases[0], noun(plan.cast[0]).plural
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}", True


def _phrase(thing: Thing, one: Placed, dice: Dice) -> str:
    """One thing with what is said of its size and place."""
    words = noun(thing).phrase(dice.pick(SIZES[one.size]) if one.size else "")
    return f"{words} {dice.pick(WHERE[one.place])}" if one.place else words


def _counted(plan: Plan, layout: Layout, dice: Dice) -> tuple[str, bool]:
    thing, many = plan.cast[0], noun(plan.cast[0]).many
    if plan.count == 4 and thing.subgroup in HERDS and dice.chance(30):
        return HERDS[thing.subgroup].format(many), False
    words = f"{NUMBERS[plan.count]} {many}" if dice.chance(85) else f"{plan.count} {many}"
    return (f"{words} {layout.arrangement}" if layout.arrangement else words), True


def _related(plan: Plan, dice: Dice) -> tuple[str, bool]:
    nouns = [noun(thing) for thing in plan.cast]
    words = dict(zip("abc", (one.phrase() for one in nouns), strict=False))
    template = dice.pick(RELATED[plan.relation])
    plural = " and " in template or nouns[0 if template.startswith("{a}") else 1].plural
    text = template.format(**words, is_="are" if nouns[0].plural else "is")
    if " its " in text or template.endswith(" it"):
        text = text.replace(" its ", " their ").replace(" it", " them") if nouns[1].plural else text
    return text, plural


def _cornered(plan: Plan, layout: Layout, dice: Dice) -> tuple[str, bool]:
    if plan.count == 4:
        words = noun(plan.cast[0])
        template = dice.pick(EVERY_CORNER)
        return template.format(one=words.phrase(), many=words.many), "{many}" in template
    first, second = (_phrase(thing, one, dice) for thing, one in zip(plan.cast, layout.things, strict=True))
    return f"{first} and {second}", True


# ---------------------------------------------------------------------------------------------------
# Without a sentence.


def _name(thing: Thing, dice: Dice) -> tuple[str, str]:
    style = dice.weighted({"name": 60, "capital": 15, "emoji": 15, "both": 10})
    if style == "emoji":
        return thing.emoji, "emoji"
    if style == "both":
        return f"{thing.name} {thing.emoji}", "emoji"
    return (thing.name[0].upper() + thing.name[1:] if style == "capital" else thing.name), "name"


def _keywords(thing: Thing, ground: Ground, dice: Dice) -> str:
    """The name first or last among two to four of CLDR's keywords, the ground at the end."""
    words = [word for word in thing.keywords.get("en", ()) if word.lower() != thing.name.lower()]
    start = dice.below(max(len(words) - 3, 1))
    words = words[start : start + 1 + dice.below(4)]
    words = [*words, thing.name] if words and dice.chance(25) else [thing.name, *words]
    return ", ".join([*words, _ground_words(ground, dice)] if ground.said else words)


def _short(plan: Plan, layout: Layout, dice: Dice) -> str:
    """As people type: no articles, commas."""
    items = []
    for thing, one in zip(plan.cast, layout.things, strict=True):
        words = f"{one.size} {noun(thing).one}" if one.size else noun(thing).one
        items.append(f"{words}, {dice.pick(WHERE[one.place])}" if one.place else words)
    joined = dice.pick((" and ", ", ", " + ")).join(items)
    return f"{joined}, {_ground_words(plan.ground, dice)}" if plan.ground.said else joined
