"""The same scenes said as training never says them: unknown frames, and known words in another order.

Unknown words for a thing, a relation or a number would be no test: whoever learnt English from the captions alone
cannot know them.
"""

from __future__ import annotations

from limner.data.dice import Dice
from limner.data.scenes.artwork import artwork
from limner.data.scenes.phrases import GRADIENT, NAMED, WHERE
from limner.data.scenes.truth import Ground, Truth
from limner.data.scenes.words import NUMBERS, noun

FRAMES = (
    "could you sketch {} for my daughter?", "i would love to have a postcard of {}", "my favourite sticker has {}",
    "what would it look like: {}?", "imagine {}",
)  # fmt: skip
RELATED = {
    "left of": ("on the left {a}, on the right {b}", "to the left of {b} there is {a}"),
    "right of": ("on the right {a}, on the left {b}", "to the right of {b} there is {a}"),
    "above": ("at the top {a}, at the bottom {b}", "above {b} there is {a}"),
    "below": ("at the bottom {a}, at the top {b}", "below {b} there is {a}"),
    "on top of": ("on top of {b} there is {a}", "{b}, and on top of it {a}"),
    "inside": ("inside {b} there is {a}", "{b}, and inside it {a}"),
    "between": ("between {b} and {c} there is {a}", "{b} on the left, {a} in the middle, {c} on the right"),
}
SETTINGS = ("{}; the background: {g}", "{} (background: {g})")


def paraphrase(truth: Truth, dice: Dice) -> str:
    """Another caption for a scene of kind single, relation (but for the corners) or count."""
    assert truth.kind in ("single", "relation", "count"), truth
    assert truth.relation != "corners", truth
    words = dice.pick(FRAMES).format(_subject(truth, dice))
    return dice.pick(SETTINGS).format(words, g=_setting(truth.ground)) if truth.ground.said else words


def _subject(truth: Truth, dice: Dice) -> str:
    nouns = [noun(artwork().things[one.thing]) for one in truth.cast]
    if truth.count > 1:
        return f"{nouns[0].many}, {NUMBERS[truth.count]} of them"
    if truth.relation:
        words = dict(zip("abc", (one.phrase() for one in nouns), strict=False))
        return dice.pick(RELATED[truth.relation]).format(**words)
    one = truth.things[0]
    words = nouns[0].phrase() + (f" that is {one.size}" if one.size else "")
    return f"{WHERE[one.place][0]} {words}" if one.place else words


def _setting(ground: Ground) -> str:
    if ground.name == "gradient":
        x, y = ground.colours
        return GRADIENT[ground.direction][0].removeprefix(" on ").format(x=x, y=y)
    return NAMED[ground.name][1][0] if ground.name in NAMED else ground.colours[0]
