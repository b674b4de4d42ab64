"""Recognition: what the questions ask, and what a judge that knows, and one that does not, answer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from limner.core import InputError
from limner.data.scenes import Scenes
from limner.evaluate import recognition
from limner.evaluate.recognition import AMONG, QUESTIONS, Choice, answered, ask, to_markdown
from limner.evaluate.table import Tally

SCENES = 120


class Told:
    """A judge in whose space a text is a random direction and a picture, known by its pixels, the text it was told."""

    def __init__(self, told: dict[bytes, str]) -> None:
        self.told = told

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return torch.stack([self._direction(text) for text in texts])

    def embed_images(self, pictures: Sequence[Tensor]) -> Tensor:
        return torch.stack([self._direction(self.told[picture.numpy().tobytes()]) for picture in pictures])

    def _direction(self, text: str) -> Tensor:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")
        one = torch.randn(64, generator=torch.Generator().manual_seed(seed))
        return one / one.norm()


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_s_right_texts_are_true_and_the_others_are_not(name: str) -> None:
    question, mix = QUESTIONS[name]
    truths = [Scenes("seen", mix=mix).truth(index) for index in range(SCENES)]
    choices = question(truths)
    assert len(choices) == SCENES
    asked = [(truth, choice) for truth, choice in zip(truths, choices, strict=True) if choice is not None]
    assert len(asked) >= SCENES / 4
    for truth, choice in asked:
        assert len(set(choice.texts)) > len(choice.right) >= 1
        right = [choice.texts[place] for place in choice.right]
        names = [one.name for one in truth.cast]
        if name in ("thing", "colour and shape"):
            assert any(names[0] in text for text in right)
        elif name == "count":
            assert len(right) == 1
            assert right[0].split()[0] == {2: "two", 3: "three", 4: "four"}[truth.count]
        elif name == "relation":
            assert all(text.index(names[0]) == min(text.index(one) for one in names) for text in right)
        elif name == "caption":
            assert right == [truth.caption]
            assert len(choice.texts) == AMONG
        else:
            assert names[0] in right[0]
            assert truth.ground.name != "plain" or truth.ground.title in right[0]


def test_emoji_that_look_alike_are_all_right() -> None:
    """The flags of Norway and of Svalbard."""
    source = Scenes("seen", mix={"single": 1.0})
    truths = [source.truth(index) for index in range(3000)]
    flags = [
        row
        for row, truth in enumerate(truths)
        if truth.things[0].name in ("flag of Norway", "flag of Svalbard & Jan Mayen")
    ]
    choices = recognition.things([truths[row] for row in flags[:1]])
    right = {choices[0].texts[place] for place in choices[0].right}
    assert "the flag of Norway" in right
    assert len(right) >= 2


def test_who_knows_answers_right_and_who_does_not_by_chance() -> None:
    question, mix = QUESTIONS["colour and shape"]
    source = Scenes("unseen", mix=mix)
    truths = [source.truth(index) for index in range(SCENES)]
    pixels = [(source[index].image.float() / 127.5 - 1).numpy().tobytes() for index in range(SCENES)]
    right = [choice.texts[min(choice.right)] for choice in question(truths)]
    knowing = ask(Told(dict(zip(pixels, right, strict=True))), question, source, SCENES)
    assert (knowing.tally.right, knowing.tally.trials) == (SCENES, SCENES)
    guessing = ask(Told({one: f"nothing {row}" for row, one in enumerate(pixels)}), question, source, SCENES)
    assert guessing.chance == pytest.approx(1 / 88)
    assert guessing.tally.share < 0.1


def test_the_nearest_text_decides() -> None:
    pictures = torch.zeros(2, 3, 4, 4)
    pictures[1] = 1.0
    judge = Told({pictures[0].numpy().tobytes(): "b", pictures[1].numpy().tobytes(): "c"})
    choices = [Choice(["a", "b", "c"], frozenset([1])), Choice(["c", "a"], frozenset([1]))]
    assert list(answered(judge, pictures, choices)) == [True, False]


def test_a_table_has_both_splits_and_chance() -> None:
    answers = recognition.Answers(Tally(3, 4), 0.25)
    text = to_markdown({"count": {"seen": answers, "unseen": recognition.Answers(Tally(1, 4), 0.5)}})
    assert "| count | 4 + 4 | 75.0 (" in text
    assert "| 25.00 + 50.00 |" in text
    assert all(one.count("|") == two.count("|") for one, two in pairwise(text.splitlines()))


def test_too_few_scenes_are_refused() -> None:
    with pytest.raises(InputError, match="scenes = 50: 100 or more"):
        recognition.recognition(Told({}), scenes=50)
