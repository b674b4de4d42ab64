"""Shares with their doubt, the mean over tasks, and which differences are called."""

from __future__ import annotations

import pytest

from limner.core import InputError
from limner.evaluate.suites.scenes.accuracy import Accuracies, Accuracy, Overall, percent
from limner.evaluate.suites.scenes.ledger import Outcome
from limner.evaluate.suites.scenes.tasks import GENEVAL, TASKS


def outcomes(shares, n=20, split="seen"):
    return [
        Outcome(
            task=task, split=split, seed=row, knobs={}, caption=f"{task} {row}", right=row < round(share * n), fit=0.0,
            picture="",
        )
        for task, share in shares.items() for row in range(n)
    ]  # fmt: skip


def of(share, n=100):
    return Accuracy.of("single", outcomes({"single": share}, n=n))


def test_a_share_has_wilsons_doubt():
    assert of(0.8).value == pytest.approx(0.8)
    assert of(0.8).interval == pytest.approx((0.711, 0.867), abs=5e-4)
    assert percent(of(1.0, n=4)) == "100.0 (51.0-100.0)"
    assert percent(of(0.0, n=4)) == "0.0 (0.0-49.0)"


def test_every_task_weighs_the_same():
    asked = (("single", 1.0, 90), ("two", 0.5, 10))
    parts = [Accuracy.of(task, outcomes({task: share}, n=n)) for task, share, n in asked]
    found = Overall("o", parts)
    assert found.value == pytest.approx(0.75)
    low, high = found.interval
    alone = parts[1].interval
    assert high - low == pytest.approx((alone[1] - alone[0]) / 2, rel=0.03)  # nearly all the doubt is the few's


def test_a_paired_difference_is_surer_than_either():
    """One is right wherever the other is, and on a few more."""
    worse, better = of(0.45), of(0.55)
    found = better.less(worse)
    assert found.value == pytest.approx(0.1)
    assert found.called
    assert found.interval[1] - found.interval[0] < better.interval[1] - better.interval[0]
    assert worse.interval[1] > better.interval[0]  # unpaired, nothing could be said
    assert worse.less(better).interval == pytest.approx(tuple(-end for end in found.interval[::-1]))


def test_newcombes_own_example():
    """Method 10 for 36 right in both, 12 in the first alone, 2 in the second alone, none in neither: his table II."""
    answers = {"both": 36, "first": 12, "second": 2}
    keys = [f"{kind} {row}" for kind, count in answers.items() for row in range(count)]
    first = Accuracy("a", {key: not key.startswith("second") for key in keys})
    second = Accuracy("a", {key: not key.startswith("first") for key in keys})
    assert first.less(second).interval == pytest.approx((0.0569, 0.3404), abs=2e-4)


def test_nothing_is_called_on_one_right_answer():
    """Nor on none; where a bootstrap is sure, since it never draws what it has not seen."""
    none, one, few = of(0.0, n=50), of(0.02, n=50), of(0.2, n=50)
    assert not one.less(none).called
    assert not none.less(none).called
    assert none.less(none).interval[0] < 0 < none.less(none).interval[1]
    assert few.less(none).called
    assert not Overall("o", [one] + [none] * 5).less(Overall("o", [none] * 6)).called
    assert Overall("o", [few] * 6).less(Overall("o", [one] * 6)).called


def test_only_what_was_asked_alike_is_compared():
    with pytest.raises(InputError, match="the same captions"):
        of(0.5, n=10).less(of(0.5, n=11))


def test_all_tasks_and_the_mean_of_the_first_six():
    asked = outcomes(dict.fromkeys(TASKS, 0.5)) + outcomes(dict.fromkeys(TASKS, 1.0), split="unseen")
    found = Accuracies.of(asked, "seen")
    assert list(found.rows()) == [*TASKS, "overall"]
    assert found.overall.n == 20 * len(GENEVAL)
    assert found.overall.value == pytest.approx(0.5)
    assert found.to_json()[-1]["metric"] == "overall, seen"
