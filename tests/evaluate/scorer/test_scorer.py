"""The scorer reads scenes as they are, and is not deceived by pictures that are nearly as asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from limner.core import InputError
from limner.data.scenes import Scenes
from limner.data.scenes.artwork import artwork
from limner.data.scenes.truth import Ground, Placed, Truth
from limner.evaluate.scorer import score

KINDS = ("single", "shape", "two", "relation", "count")


def placed(name, x, y, side, place=""):
    thing = artwork().named(name)
    return Placed(thing.index, name, (x, y, x + side, y + side), thing.shape, thing.colour, "", place)


def truth(*things, kind="single", relation="", count=1, ground=None, subjects=None):
    return Truth(
        caption="", form="", kind=kind, things=things, subjects=subjects or tuple(range(len(things))),
        relation=relation, count=count, ground=ground or Ground(colours=("light blue",), said=True),
    )  # fmt: skip


def read(shown, asked=None):
    return score([Scenes().render(shown)], [asked or shown])[0]


@pytest.mark.parametrize("kind", KINDS)
def test_real_scenes_are_right_and_with_each_others_captions_wrong(kind):
    splits = [Scenes(split, seed=11, mix={kind: 1.0}) for split in ("seen", "unseen")]
    truths = [scenes.truth(0) for scenes in splits]
    pictures = [scenes.render(one) for scenes, one in zip(splits, truths)]
    assert all(all(reading.rows().values()) for reading in score(pictures, truths))
    row = "colour" if kind == "shape" else kind
    assert not any(reading.rows()[row] for reading in score(pictures[::-1], truths))


def test_a_soft_and_displaced_picture_is_read_as_the_sharp_one():
    shown = truth(placed("cat", 10, 36, 52), placed("pizza", 70, 36, 52), kind="two")
    picture = Scenes().render(shown).filter(ImageFilter.GaussianBlur(2))
    moved = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    moved.paste(picture, (3, -2))
    assert score([moved], [shown])[0].rows() == {"two": True, "background": True}


def test_what_is_not_there_is_not_found():
    asked = truth(placed("cat", 20, 20, 80))
    reading = read(truth(), asked)
    assert reading.rows() == {"single": False, "background": True}
    assert reading.things[0].window is None
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    assert score([Image.fromarray(noise)], [asked])[0].rows() == {"single": False, "background": False}


def test_identity_is_strict_and_names_what_it_reads():
    asked, shown = truth(placed("flag of Ireland", 20, 20, 80)), truth(placed("flag of Italy", 20, 20, 80))
    (found,) = read(shown, asked).things
    assert (found.read, found.right) == ("flag of Italy", False)


def test_artwork_that_looks_the_same_is_the_same():
    asked, shown = truth(placed("flag of Norway", 20, 20, 80)), truth(placed("flag of Bouvet Island", 20, 20, 80))
    assert read(shown, asked).things[0].right


def test_the_colour_of_a_shape_and_its_form_are_both_read():
    asked = truth(placed("red star", 20, 20, 80), kind="shape")
    assert read(asked).rows()["colour"]
    pink = read(truth(placed("pink star", 20, 20, 80), kind="shape"), asked)
    assert (pink.colour, pink.colour_right) == ("pink", False)
    assert not read(truth(placed("red circle", 20, 20, 80), kind="shape"), asked).colour_right


@pytest.mark.parametrize(("shown", "right"), [(2, False), (3, True), (4, False)])
def test_things_are_counted_neither_too_few_nor_too_many(shown, right):
    spots = ((12, 12), (72, 12), (12, 72), (72, 72))
    apples = [placed("red apple", x, y, 44) for x, y in spots]
    reading = read(truth(*apples[:shown], kind="count", count=shown), truth(*apples[:3], kind="count", count=3))
    assert (reading.count, reading.count_right) == (shown, right)


def test_another_thing_among_several_is_no_count():
    asked = truth(*(placed("red apple", x, 42, 36) for x in (4, 46, 88)), kind="count", count=3)
    shown = replace(asked, things=(*asked.things[:2], placed("pineapple", 88, 42, 36)))
    assert not read(shown, asked).count_right


@pytest.mark.parametrize(
    ("relation", "first", "second"),
    [
        ("left of", (10, 40, 48), (70, 40, 48)),
        ("above", (40, 8, 48), (40, 70, 48)),
        ("inside", (44, 44, 40), (4, 4, 120)),
        ("on top of", (42, 20, 48), (32, 58, 64)),
    ],
)
def test_a_relation_holds_one_way_round_and_no_other(relation, first, second):
    names = ("dog", "green square")
    things = [placed(name, *spot) for name, spot in zip(names, (first, second))]
    asked = truth(*things[::-1], kind="relation", relation=relation, subjects=(1, 0))
    assert read(asked).relation_right
    aside = truth(placed("dog", 70, 64, 44), placed("green square", 10, 20, 44), kind="relation")
    reading = read(aside, asked)
    assert reading.relation_right is False
    assert read(truth(*aside.things, kind="two")).things_right


@pytest.mark.parametrize("ground", [
    Ground(colours=("white",), said=True), Ground("beach", (), "", 3, True),
    Ground("gradient", ("red", "light blue"), "down", 0, True),
])  # fmt: skip
def test_the_background_is_read_behind_a_large_thing(ground):
    shown = truth(placed("dog", 6, 6, 116), ground=ground)
    assert read(shown).rows() == {"single": True, "background": True}
    other = Ground("gradient", ("light blue", "red"), "down", 0, True)
    assert read(shown, replace(shown, ground=other)).background_right is False
    assert read(shown, replace(shown, ground=replace(ground, said=False))).background_right is None


def test_a_pale_thing_is_found_beside_a_bright_one():
    things = (placed("man firefighter", 31, 60, 64), placed("fish cake with swirl", 37, 20, 48))
    shown = truth(*things, kind="relation", relation="on top of", subjects=(1, 0), ground=Ground(said=True))
    assert read(shown).rows() == {"relation": True, "background": True}


def test_tensors_and_pictures_of_another_size_are_read_alike():
    shown = truth(placed("cat", 20, 20, 80))
    picture = Scenes().render(shown)
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1
    large = picture.resize((256, 256), Image.Resampling.BICUBIC)
    first, second, third = score([picture, tensor, large], [shown] * 3)
    assert first.things[0].window == second.things[0].window
    assert first.rows() == second.rows() == third.rows() == {"single": True, "background": True}


def test_wrong_input_is_named():
    with pytest.raises(InputError, match="1 pictures for 0 truths"):
        score([Image.new("RGB", (8, 8))], [])
    with pytest.raises(InputError, match=r"not torch.uint8 of \(3, 8, 8\)"):
        score([torch.zeros(3, 8, 8, dtype=torch.uint8)], [truth()])
