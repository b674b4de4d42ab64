"""Digits with captions: what is withheld, what a caption says, and that all of it is the same everywhere."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from functools import lru_cache

import numpy as np
import pytest
import torch

from limner.core import InputError
from limner.data import open_source
from limner.data.digits import INK, MARGIN, NAMES, PLACES, SPLITS, TEMPLATES, TILE, Composition, Digits, half, tiles
from limner.text.bpe import BPE


@lru_cache
def truths(split: str, count: int = 4000) -> list[Composition]:
    digits = Digits(split, seed=11)
    return [digits.truth(index) for index in range(count)]


def said(caption: str) -> list[tuple[int, str]]:
    """(digit, place) as the caption's words have it, read by another way than they are written."""
    words = caption.removesuffix(".").split()
    digits = [NAMES.index(word) for word in words if word in NAMES]
    if len(digits) == 1:
        return [(digits[0], " ".join(words[words.index("the", 3) + 1 : -3]))]
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
    [side] = [word for word in words if word in opposite]
    return [(digits[0], side), (digits[1], opposite[side])]


def withheld(caption: str) -> bool:
    return any(PLACES[place].withheld == digit for digit, place in said(caption))


def test_the_same_digits_everywhere() -> None:
    """Digests, so that another machine, library or day that draws anything else is noticed."""
    captions = "\n".join(Digits(split, seed=5).truth(index).caption for split in SPLITS for index in range(100))
    assert hashlib.sha256(captions.encode()).hexdigest()[:16] == "4c26c5f75766867c"
    pixels = b"".join(Digits(split, seed=5)[index].image.numpy().tobytes() for split in SPLITS for index in range(40))
    assert hashlib.sha256(pixels).hexdigest()[:16] == "5fa6bd739e7da42d"


def test_an_example_is_a_function_of_seed_split_and_number() -> None:
    backwards = {index: Digits("train", seed=3)[index] for index in reversed(range(20))}
    for index, example in enumerate(Digits("train", seed=3)[index] for index in range(20)):
        assert example.caption == backwards[index].caption
        assert example.image.equal(backwards[index].image)
    others = [Digits("train", seed=4), Digits("seen", seed=3)]
    for other in others:
        assert [other.truth(index) for index in range(20)] != [Digits("train", seed=3).truth(n) for n in range(20)]


def test_training_never_shows_what_is_withheld_and_unseen_always_does() -> None:
    for split in SPLITS:
        assert {withheld(one.caption) for one in truths(split)} == {split == "unseen"}
        assert all(one.unseen is withheld(one.caption) for one in truths(split))


def test_everything_else_is_shown() -> None:
    """Each place has all ten digits but the one that is withheld there, and that one in `unseen`."""
    for split in SPLITS:
        shown = {pair for one in truths(split) for pair in said(one.caption)}
        every = {(digit, place) for place in PLACES for digit in range(10)}
        kept = {(place.withheld, name) for name, place in PLACES.items()}
        alone = {pair for pair in every if " " in pair[1]}  # a corner stands alone: unseen shows nothing else there
        assert shown == (every - kept if split != "unseen" else every - alone | kept)


def test_captions_are_the_paper_s_eight_equally_often() -> None:
    for split in SPLITS:
        forms = Counter(re.sub("|".join(NAMES), "{}", one.caption) for one in truths(split))
        assert forms.keys() == TEMPLATES.keys()
        assert all(abs(count - 500) < 120 for count in forms.values())


def test_digits_stand_where_the_caption_says() -> None:
    """By the ink itself: nothing lies outside of the tiles, and a tile's ink is that drawing's, whole."""
    for truth in truths("train", 300):
        canvas = np.array(Digits("train").render(truth)).astype(int)
        for one in truth.digits:
            row, column = one.corner
            assert row in PLACES[one.place].rows
            assert column in PLACES[one.place].columns
            assert (one.digit, one.place) in said(truth.caption)
            ink = np.array(tiles()[one.digit][one.drawing])[MARGIN : MARGIN + INK, MARGIN : MARGIN + INK]
            inside = (slice(row + MARGIN, row + MARGIN + INK), slice(column + MARGIN, column + MARGIN + INK))
            assert (canvas[inside] == ink).all()
            canvas[inside] = 0
        assert canvas.sum() == 0
        if len(truth.digits) == 2:
            shared = 0 if truth.digits[0].place in ("left", "right") else 1
            assert truth.digits[0].corner[shared] == truth.digits[1].corner[shared]


def test_seen_and_unseen_show_drawings_that_training_does_not() -> None:
    drawn = {split: {(one.digit, one.drawing) for t in truths(split) for one in t.digits} for split in SPLITS}
    assert not drawn["train"] & (drawn["seen"] | drawn["unseen"])
    for digit in range(10):
        halves = [set(half(digit, training=training)) for training in (True, False)]
        assert halves[0] | halves[1] == set(range(len(tiles()[digit])))
        assert not halves[0] & halves[1]


def test_the_pack_holds_the_data_set_s_1797_digits() -> None:
    assert [len(row) for row in tiles()] == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    for row in tiles():
        assert all(tile.size == (TILE, TILE) and np.array(tile).max() > 200 for tile in row)


def test_a_recipe_can_name_them() -> None:
    validation = open_source("digits", size=60, split="validation", seed=7)
    assert isinstance(validation, Digits)
    assert validation.split == "seen"
    example = open_source("digits", size=60, seed=7)[0]
    assert example.image.shape == (3, 60, 60)
    assert example.image.dtype == torch.uint8
    assert example.image[0].equal(example.image[2])
    small = open_source("digits", size=30, seed=7)[0].image.float()
    halved = example.image.float().unflatten(1, (30, 2)).unflatten(3, (30, 2)).mean(dim=(2, 4))
    assert (small - halved).abs().max() <= 1.0


def test_words_become_one_token_each() -> None:
    """With the recipe's vocabulary; so a step's attention is to words, and their number is the paper's twelve."""
    digits = Digits()
    tokenizer = BPE.train((digits.truth(index).caption for index in range(2000)), 400)
    _, mask = tokenizer.encode([one.caption for one in truths("unseen")], 40)
    assert set(mask.sum(dim=1).tolist()) == {1 + 12}


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match='no split "validation" of digits; there are train, seen, unseen'):
        Digits("validation")
    with pytest.raises(InputError, match="size = 64 is not within 1 and 60"):
        Digits(size=64)
    with pytest.raises(InputError, match="no picture number -1"):
        Digits()[-1]
    with pytest.raises(InputError, match="digits has none: remove it"):
        open_source("digits", size=60, mix={"single": 1.0})
