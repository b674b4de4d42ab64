"""Intervals: prompts are the witnesses, not pictures; differences are paired; centred where resampling is biased."""

from __future__ import annotations

import json

import pytest
import torch

from limner.core import InputError
from limner.evaluate.bootstrap import Bootstrap
from limner.evaluate.features import ExtractorId
from limner.evaluate.metrics import authenticity, frechet_distance
from limner.evaluate.score import averaged, difference, share, spans
from tests.evaluate.rows import features, normal

MANY = Bootstrap(resamples=1000)


def clustered(prompts, each, seed, *, between=1.0, within=0.2):
    """Rows (prompts * each,) whose prompts differ more than the pictures of a prompt."""
    generator = torch.Generator().manual_seed(seed)
    means = between * torch.randn(prompts, 1, generator=generator, dtype=torch.float64)
    rows = (means + within * torch.randn(prompts, each, generator=generator, dtype=torch.float64)).flatten()
    return rows, [str(prompt) for prompt in range(prompts) for _ in range(each)]


def test_more_pictures_of_the_same_prompts_make_no_number_surer():
    """The error of the mean is that of 100 prompts, though there are 2000 pictures."""
    rows, prompts = clustered(100, 20, 0)
    score = averaged("mean", rows, features(rows[:, None], prompts), bootstrap=MANY)
    assert float(score.replicates.std()) == pytest.approx(float(rows.reshape(100, 20).mean(1).std()) / 10, rel=0.1)
    alone = averaged("mean", rows, features(rows[:, None]), bootstrap=MANY)
    assert float(alone.replicates.std()) < 0.3 * float(score.replicates.std())


def test_an_interval_holds_the_truth_as_often_as_it_says():
    """95 % of 200 experiments, of which the binomial error is 1.5 %."""
    held = 0
    for seed in range(200):
        rows, prompts = clustered(40, 3, seed)
        low, high = averaged("mean", rows, features(rows[:, None], prompts), bootstrap=Bootstrap(400)).interval
        held += low <= 0 <= high
    assert 0.89 <= held / 200 <= 0.99


def test_the_interval_of_a_biased_metric_is_about_its_value():
    """Every resample of a Frechet distance lies further off than the sample, which the interval is not fooled by."""
    real = normal(300, 8, 1)
    many = [frechet_distance(normal(60, 8, 2 * k), real, bootstrap=Bootstrap(2)).value for k in range(150)]
    scores = [frechet_distance(normal(60, 8, 1000 + k), real, bootstrap=Bootstrap(60)) for k in range(40)]
    assert all(score.interval[0] < score.value < score.interval[1] for score in scores)
    assert all(float(score.replicates.mean()) > score.value for score in scores)
    held = sum(score.interval[0] <= sum(many) / 150 <= score.interval[1] for score in scores)
    assert held / 40 > 0.8


def test_a_difference_on_the_same_prompts_is_surer_than_either():
    rows, prompts = clustered(100, 4, 0)
    other = rows + 0.1 + 0.05 * torch.randn(400, generator=torch.Generator().manual_seed(5))
    one, two = (averaged("mean", each, features(each[:, None], prompts), bootstrap=MANY) for each in (other, rows))
    found = difference(one, two)
    assert found.value == pytest.approx(0.1, abs=0.01)
    assert found.called
    assert one.interval[0] < two.value < one.interval[1]
    assert not difference(one, one).called
    assert difference(two, one).interval == pytest.approx((-found.interval[1], -found.interval[0]), abs=1e-6)


def test_the_order_of_pictures_plays_no_role_in_pairs():
    rows, prompts = clustered(30, 3, 0)
    mixed = torch.randperm(90)
    one = averaged("mean", rows, features(rows[:, None], prompts), bootstrap=MANY)
    two = averaged("mean", rows[mixed], features(rows[mixed, None], [prompts[k] for k in mixed]), bootstrap=MANY)
    torch.testing.assert_close(one.replicates, two.replicates)
    assert difference(one, two).interval == pytest.approx((0, 0), abs=1e-12)


def test_what_was_not_measured_alike_is_not_compared():
    def score(prompts="ab", *, name="mean", extractor="given", bootstrap=MANY):
        drawn = features(torch.zeros(2, 1), list(prompts), ExtractorId(extractor))
        return averaged(name, torch.tensor([0.5, 0.6]), drawn, bootstrap=bootstrap)

    for other, what in (
        (score("ac"), "prompts"), (score(name="median"), "metric"), (score(extractor="other"), "extractor"),
        (score(bootstrap=Bootstrap(9)), "bootstrap"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"a paired difference wants the same {what}"):
            difference(score(), other)


def test_a_share_of_none_or_all_is_not_certain():
    rows = torch.zeros(20)
    assert share("share", rows, features(rows[:, None]), bootstrap=MANY).interval == pytest.approx((0, 0.161), abs=1e-3)
    ones = share("share", rows + 1, features(rows[:, None], ["a", "b"] * 10), bootstrap=MANY)
    assert ones.interval == pytest.approx((0.342, 1), abs=1e-3)  # two prompts are two trials


def test_one_prompt_has_no_interval():
    with pytest.raises(InputError, match="an interval needs 2 or more prompts"):
        averaged("mean", torch.zeros(3), features(torch.zeros(3, 1), ["a"] * 3), bootstrap=MANY)
    with pytest.raises(InputError, match="resamples = 1"):
        Bootstrap(resamples=1)


def test_a_score_says_all_that_it_was_measured_with():
    drawn = normal(30, 4, 0)
    score = authenticity(drawn, normal(40, 4, 1), bootstrap=Bootstrap(50, seed=3))
    said = json.loads(json.dumps(score.to_json()))
    assert said["n"] == said["prompts"] == 30
    assert (said["reference"], said["resamples"], said["bootstrap_seed"], said["extractor"]) == (40, 50, 3, "given")
    assert said["interval95"][0] <= said["value"] <= said["interval95"][1]
    assert score.metric in str(score)


def test_seeds_are_written_in_brief():
    assert spans((7, 0, 1, 2, 2)) == "0-2, 7"
    assert spans(()) == ""
