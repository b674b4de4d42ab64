"""Shares with their doubt, and the mean over tasks."""

from __future__ import annotations

import pytest

from limner.evaluate.score import difference
from limner.evaluate.suites.accuracy import accuracies, accuracy, overall, percent
from limner.evaluate.suites.ledger import Outcome
from limner.evaluate.suites.tasks import GENEVAL, TASKS


def outcomes(shares, n=20, split="seen"):
    return [
        Outcome(
            task=task, split=split, seed=row, knobs={}, caption=f"{task} {row}", right=row < round(share * n), fit=0.0,
            picture="",
        )
        for task, share in shares.items() for row in range(n)
    ]  # fmt: skip


def test_every_task_weighs_the_same():
    uneven = outcomes({"single": 1.0}, n=90) + outcomes({"two": 0.5}, n=10)
    found = overall("o", uneven, ("single", "two"))
    assert found.value == pytest.approx(0.75)
    assert found.interval[0] < 0.75 < found.interval[1]
    assert found.interval[1] - found.interval[0] < accuracy("two", uneven[90:]).interval[1] - 0.2


def test_a_share_has_the_binomials_doubt():
    found = accuracy("single", outcomes({"single": 0.8}, n=400))
    low, high = found.interval
    assert found.value == pytest.approx(0.8)
    assert high - low == pytest.approx(2 * 1.96 * (0.8 * 0.2 / 400) ** 0.5, rel=0.15)
    assert percent(accuracy("x", outcomes({"single": 1.0}, n=4))) == "100.0 (51.0-100.0)"


def test_a_paired_difference_is_surer_than_either():
    """One is right wherever the other is, and on a few more."""
    worse, better = (accuracy("single", outcomes({"single": share}, n=100)) for share in (0.45, 0.55))
    found = difference(better, worse)
    assert found.value == pytest.approx(0.1)
    assert found.called
    assert found.interval[1] - found.interval[0] < better.interval[1] - better.interval[0]
    assert worse.interval[1] > better.interval[0]  # unpaired, nothing could be said


def test_all_tasks_and_the_mean_of_the_first_six():
    found = accuracies(
        outcomes(dict.fromkeys(TASKS, 0.5)) + outcomes(dict.fromkeys(TASKS, 1.0), split="unseen"), "seen"
    )
    assert list(found) == [*TASKS, "overall"]
    assert found["overall"].n == 20 * len(GENEVAL)
    assert found["overall"].value == pytest.approx(0.5)
