"""What a CLIP recognises without having been taught it: of several texts, the one nearest to the picture.

The scenes ask, whose truth is known; `unseen` holds combinations that no training has shown. A question offers
texts of which some are right: the others say what the picture would be if one thing in it were another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

from torch import Tensor

from limner.core import Batch, check
from limner.data.scenes import Scenes
from limner.data.scenes.artwork import Thing, artwork
from limner.data.scenes.grounds import SHADES
from limner.data.scenes.phrases import NAMED, PLAIN, RELATED
from limner.data.scenes.truth import Truth
from limner.data.scenes.words import NUMBERS, noun, with_article
from limner.evaluate.table import Tally
from limner.judge import Judge

AMONG = 100  # captions, one of them the picture's own: what R-precision asks
SPLITS = ("seen", "unseen")
CHUNK = 256  # pictures in memory at once


@dataclass(frozen=True, slots=True)
class Choice:
    """`texts` to choose from, `right` the places of those that are true."""

    texts: Sequence[str]
    right: frozenset[int]

    @property
    def chance(self) -> float:
        return len(self.right) / len(self.texts)


# ---------------------------------------------------------------------------------------------------
# Questions: for scenes in a row a choice each, or None where it cannot be asked.


def things(truths: Sequence[Truth]) -> list[Choice | None]:
    """Which of all emoji it is; those that look alike count as one."""
    emoji = artwork().emoji
    texts = [noun(one).phrase() for one in emoji]
    asked = [_cast(truth)[0] for truth in truths]
    return [
        Choice(texts, frozenset(place for place, other in enumerate(emoji) if other.looks == one.looks))
        for one in asked
    ]


def shapes(truths: Sequence[Truth]) -> list[Choice | None]:
    """Which colour and form it has, of all that there are."""
    every = artwork().shapes
    texts = [noun(one).phrase() for one in every]
    return [Choice(texts, frozenset([every.index(_cast(truth)[0])])) for truth in truths]


def grounds(truths: Sequence[Truth]) -> list[Choice | None]:
    """On what it stands: a plain colour or a named place. Gradients and what the caption does not say are not asked."""
    behind = {colour: PLAIN[0].format(a=with_article(colour)) for colour in SHADES}
    behind |= {name: words[0][0] for name, words in NAMED.items()}

    def choice(truth: Truth) -> Choice | None:
        if not truth.ground.said or truth.ground.title not in behind:
            return None
        phrase = noun(_cast(truth)[0]).phrase()
        return Choice(
            [phrase + words for words in behind.values()], frozenset([list(behind).index(truth.ground.title)])
        )

    return [choice(truth) for truth in truths]


def counts(truths: Sequence[Truth]) -> list[Choice | None]:
    """Two, three or four of it."""
    return [
        Choice(
            [f"{NUMBERS[number]} {noun(_cast(truth)[0]).many}" for number in (2, 3, 4)], frozenset([truth.count - 2])
        )
        for truth in truths
    ]


def relations(truths: Sequence[Truth]) -> list[Choice | None]:
    """Which is where: the same words in the other order, which a bag of words cannot tell."""

    def choice(truth: Truth) -> Choice | None:
        cast, template = _cast(truth), RELATED.get(truth.relation, ("",))[0]
        if not template or len(cast) < 2:
            return None
        orders = list(permutations(cast))
        texts = [
            template.format(**dict(zip("abc", (noun(one).phrase() for one in order), strict=False))) for order in orders
        ]
        return Choice(texts, frozenset(place for place, order in enumerate(orders) if order[0] is cast[0]))

    return [choice(truth) for truth in truths]


def captions(truths: Sequence[Truth]) -> list[Choice | None]:
    """Its own caption among those of the scenes behind it."""

    def choice(place: int) -> Choice | None:
        others = [truths[(place + step) % len(truths)].caption for step in range(1, len(truths))]
        texts = list(dict.fromkeys([truths[place].caption, *others]))[:AMONG]
        return Choice(texts, frozenset([0])) if len(texts) == AMONG else None

    return [choice(place) for place in range(len(truths))]


def _cast(truth: Truth) -> list[Thing]:
    return [artwork().things[one.thing] for one in truth.cast]


Question = Callable[[Sequence[Truth]], list[Choice | None]]
COMBINED = {"single": 0.2, "shape": 0.2, "two": 0.2, "relation": 0.2, "count": 0.2}
QUESTIONS: Mapping[str, tuple[Question, Mapping[str, float]]] = {  # and the mix of scenes that it is put to
    "thing": (things, {"single": 1.0}),
    "ground": (grounds, {"single": 1.0}),
    "colour and shape": (shapes, {"shape": 1.0}),
    "count": (counts, {"count": 1.0}),
    "relation": (relations, {"relation": 1.0}),
    "caption": (captions, COMBINED),
}


# ---------------------------------------------------------------------------------------------------
# Answers.


@dataclass(slots=True)
class Answers:
    """How often the nearest text was right, and how often a guess would be."""

    tally: Tally
    chance: float


def recognition(judge: Judge, *, scenes: int = 500, seed: int = 0) -> dict[str, dict[str, Answers]]:
    """For each question and each split (seen, unseen) the answers for `scenes` scenes; some cannot be asked of all."""
    check(scenes >= AMONG, f"scenes = {scenes}: {AMONG} or more are needed to choose among their captions")
    return {
        name: {split: ask(judge, question, Scenes(split, seed=seed, mix=mix), scenes) for split in SPLITS}
        for name, (question, mix) in QUESTIONS.items()
    }


def ask(judge: Judge, question: Question, source: Scenes, scenes: int) -> Answers:
    """Put one question to the first so many scenes of a source."""
    truths = [source.truth(index) for index in range(scenes)]
    asked = [(index, choice) for index, choice in enumerate(question(truths)) if choice is not None]
    tally = Tally()
    for start in range(0, len(asked), CHUNK):
        some = asked[start : start + CHUNK]
        pictures = Batch.of([source[index] for index, _ in some]).images
        for right in answered(judge, list(pictures), [choice for _, choice in some]):
            tally.add(right)
    return Answers(tally, sum(choice.chance for _, choice in asked) / len(asked))


def answered(judge: Judge, pictures: Sequence[Tensor], choices: Sequence[Choice]) -> Iterator[bool]:
    """Whether the text nearest to each picture, (3, H, W) in [-1, 1], is one of its right ones."""
    places = {
        text: place for place, text in enumerate(dict.fromkeys(one for choice in choices for one in choice.texts))
    }
    images, texts = judge.embed_images(pictures), judge.embed_texts(list(places))
    for image, choice in zip(images, choices, strict=True):
        nearest = int((texts[[places[text] for text in choice.texts]] @ image).argmax())
        yield nearest in choice.right


def to_markdown(found: Mapping[str, Mapping[str, Answers]]) -> str:
    """In percent, with 95 % intervals; where a cell has a sum, it is of the two splits."""
    lines = ["| % right | n | seen | unseen | chance |", "|---|---:|---:|---:|---:|"]
    for name, splits in found.items():
        cells = [str(splits[split].tally) for split in SPLITS]
        count = " + ".join(str(splits[split].tally.trials) for split in SPLITS)
        chance = " + ".join(f"{100 * splits[split].chance:.2f}" for split in SPLITS)
        lines.append(f"| {name} | {count} | {cells[0]} | {cells[1]} | {chance} |")
    return "\n".join(lines) + "\n"
