from __future__ import annotations

import pytest

from limner.data.scenes.artwork import artwork
from limner.data.scenes.words import noun, pluralised, with_article


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("cat", "cats"), ("bus", "buses"), ("torch", "torches"), ("fox", "foxes"), ("butterfly", "butterflies"),
        ("monkey", "monkeys"), ("wolf", "wolves"), ("computer mouse", "computer mice"), ("woman", "women"),
        ("snowman without snow", "snowmen without snow"), ("mermaid", "mermaids"), ("merman", "mermen"),
        ("leaf fluttering in wind", "leaves fluttering in wind"), ("man rowing boat", "men rowing boat"),
        ("person in lotus position", "people in lotus position"), ("face with tears of joy", "faces with tears of joy"),
        ("glass of milk", "glasses of milk"), ("flag of Hong Kong SAR China", "flags of Hong Kong SAR China"),
        ("right arrow curving left", "right arrows curving left"),
        ("family of man, man and boy", "families of man, man and boy"),
        ("goose", "geese"), ("sheaf of rice", "sheafs of rice"), ("red apple", "red apples"),
        ("writing hand", "writing hands"),
        ("litter in bin sign", "litter in bin signs"), ("face holding back tears", "faces holding back tears"),
    ],
)  # fmt: skip
def test_plurals(one: str, many: str) -> None:
    assert pluralised(one) == many


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stop sign", "a stop sign"), ("apple", "an apple"), ("unicorn", "a unicorn"), ("umbrella", "an umbrella"),
        ("hourglass done emoji", "an hourglass done emoji"), ("horse", "a horse"), ("euro banknote", "a euro banknote"),
        ("ewe", "a ewe"), ("SOS button", "an SOS button"), ("OK hand", "an OK hand"), ("NEW button", "a NEW button"),
        ("x-ray", "an x-ray"), ("T-Rex", "a T-Rex"), ("one-piece swimsuit", "a one-piece swimsuit"),
        ("orange square", "an orange square"), ("UP! button", "an UP! button"),
    ],
)  # fmt: skip
def test_articles(words: str, said: str) -> None:
    assert with_article(words) == said


@pytest.mark.parametrize(
    ("name", "said", "small"),
    [
        ("grapes", "grapes", "small grapes"),
        ("bacon", "bacon", "small bacon"),
        ("Santa Claus", "Santa Claus", "small Santa Claus"),
        ("kaaba", "the kaaba", "the small kaaba"),
        ("flag of Chad", "the flag of Chad", "a small flag of Chad"),
        ("fork and knife", "a fork and knife", "a small fork and knife"),
        ("no smoking", "a no smoking symbol", "a small no smoking symbol"),
        ("twelve-thirty", "a clock showing twelve-thirty", "a small clock showing twelve-thirty"),
        ("thumbs up", "a thumbs up emoji", "a small thumbs up emoji"),
        ("red circle", "a red circle", "a small red circle"),
        ("up arrow", "an up arrow", "a small up arrow"),
    ],
)
def test_noun_phrases(name: str, said: str, small: str) -> None:
    assert noun(artwork().named(name)).phrase() == said
    assert noun(artwork().named(name)).phrase("small") == small


def test_what_is_counted_has_a_plural_of_its_own() -> None:
    things = [noun(thing) for thing in (*artwork().emoji, *artwork().shapes)]
    counted = [one for one in things if one.countable]
    assert len(counted) > 0.85 * len(things)
    unchanged = {one.one.split()[-1] for one in counted if one.one == one.many}
    assert unchanged <= {"fish", "blowfish", "deer", "bison", "moose", "squid", "shrimp", "buffalo"}
    assert len({one.one for one in things}) == len(things)
