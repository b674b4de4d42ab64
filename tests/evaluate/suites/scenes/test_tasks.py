"""The questions of the suite `scenes`: what each is about, what a real picture answers, and that nothing varies."""

from __future__ import annotations

import pytest

from limner.core import InputError
from limner.data.scenes import Scenes
from limner.data.scenes.longer import THINGS
from limner.data.scenes.plan import held_out
from limner.evaluate.scorer import score
from limner.evaluate.scorer.reading import Reading
from limner.evaluate.suites.scenes.tasks import DIRECTIONS, SPLITS, TASKS, Item, examination, items

COUNT = 24


def test_a_task_is_the_same_every_time_and_a_longer_one_begins_alike():
    for task in TASKS:
        assert items(task, "unseen", 3, seed=5) == items(task, "unseen", 6, seed=5)[:3]


def test_an_examination_has_each_task_in_both_splits():
    found = examination(5)
    assert len(found) == 5 * len(TASKS)
    for task in TASKS:
        assert [item.split for item in found if item.task == task] == ["seen"] * 3 + ["unseen"] * 2


def test_each_task_is_about_what_its_name_says():
    about = {task: [item.truth for item in items(task, "seen", COUNT)] for task in TASKS}
    assert all(len(truth.things) == 1 for truth in about["single"])
    assert all(truth.relation in DIRECTIONS for truth in about["position"])
    assert not any(truth.relation in DIRECTIONS for truth in about["relation"])
    assert all(truth.ground.said for truth in about["background"])
    assert all(truth.language != "en" for truth in about["language"])
    for truth in about["attribution"]:
        assert len({one.colour for one in truth.things}) == 2
        assert all(one.shape for one in truth.things)


@pytest.mark.parametrize("split", SPLITS)
def test_longer_scenes_have_five_things_apart_and_say_them_all(split):
    for item in items("longer", split, COUNT):
        assert len({one.thing for one in item.truth.things}) == THINGS
        for one in item.truth.things:
            x0, y0, x1, y1 = one.box
            assert 0 <= x0 < x1 <= 128
            assert 0 <= y0 < y1 <= 128
        words = [f"shape|{one.shape}|{one.colour}" for one in item.truth.things if one.shape]
        grounds = [f"ground|{one.name}|{item.truth.ground.key}" for one in item.truth.things if item.truth.ground.said]
        assert any(map(held_out, words + grounds)) == (split == "unseen")


def test_training_never_says_what_a_paraphrase_says():
    scenes = Scenes("train", mix={"single": 1.0, "relation": 1.0, "count": 1.0})
    said = {scenes.truth(index).caption.lower().rstrip(".") for index in range(2000)}
    asked = [item.truth for item in items("paraphrase", "seen", 200)]
    assert not said & {truth.caption for truth in asked}
    assert {truth.kind for truth in asked} == {"single", "relation", "count"}
    for truth in asked:
        assert all(one.name.split()[0].lower() in truth.caption.lower() for one in truth.things[:1] if truth.count == 1)


@pytest.mark.parametrize("task", TASKS)
def test_a_real_picture_is_right_and_another_captions_is_not(task):
    asked = items(task, "unseen", 3, seed=1)
    pictures = [Scenes("seen").render(item.truth) for item in asked]
    right = [item.right(reading) for item, reading in zip(asked, score(pictures, [item.truth for item in asked]))]
    wrong = [
        item.right(reading)
        for item, reading in zip(asked, score(pictures[1:] + pictures[:1], [item.truth for item in asked]))
    ]
    assert sum(right) >= 2
    assert sum(wrong) <= 1


def test_what_is_right_is_what_the_scene_is_about():
    truth = items("single", "seen", 1)[0].truth
    reading = Reading("relation", (), "unknown", background_right=True, relation_right=False)
    assert not Item("position", "seen", truth, 0).right(reading)
    assert Item("background", "seen", truth, 0).right(reading)


def test_an_unknown_task_and_too_few_captions_are_named():
    with pytest.raises(InputError, match=r'no task "colur" \(did you mean "colour"'):
        items("colur", "seen", 1)
    with pytest.raises(InputError, match="4 or more"):
        examination(3)
