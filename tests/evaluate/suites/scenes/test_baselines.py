"""The baselines that are shipped are those of this suite and this scorer."""

from __future__ import annotations

import pytest

from limner.evaluate.suites.scenes import baselines
from limner.evaluate.suites.scenes.baselines import BASELINES, Training, answers, tally
from limner.evaluate.suites.scenes.tasks import SPLITS, TASKS, items


@pytest.fixture(scope="module")
def training():
    return Training(300)


def test_every_task_has_every_baseline_of_a_hundred_captions():
    for task in TASKS:
        for split in SPLITS:
            for name in BASELINES:
                assert tally(task, split, name).trials >= 100


def test_real_pictures_are_right_and_other_captions_pictures_are_not():
    for task in TASKS:
        for split in SPLITS:
            assert tally(task, split, "real").share >= 0.9
            assert tally(task, split, "other").share <= 0.25


@pytest.mark.parametrize("task", TASKS)
def test_what_is_shipped_is_what_is_measured(task, training):
    """Of the first captions; the last of them is not asked for the other caption's, which is that of the one before."""
    asked = items(task, "seen", 2)
    shipped = baselines._shipped()[task]["seen"]
    assert answers(asked, "real", training) == shipped["real"][:2]
    assert answers(asked, "other", training)[1:] == shipped["other"][1:2]


def test_the_nearest_caption_and_the_mean_of_the_nearest(training):
    caption = training.truths[7].caption
    assert training.nearest(caption, 1)[0].tobytes() == training.scenes.render(training.truths[7]).tobytes()
    assert answers(items("single", "seen", 1), "mean", training) in ("0", "1")
