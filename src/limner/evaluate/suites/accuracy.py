"""Of outcomes to shares with their doubt, paired between models that were asked the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from limner.data.scenes.artwork import PACK
from limner.evaluate.bootstrap import USUAL
from limner.evaluate.features import ExtractorId, Features
from limner.evaluate.score import Score, scored, share
from limner.evaluate.suites.ledger import Outcome
from limner.evaluate.suites.tasks import GENEVAL, TASKS
from limner.store.files import sha256


@lru_cache(1)
def scorer_id() -> ExtractorId:
    """The scorer is closed form: what it knows is the artwork."""
    return ExtractorId("scenes scorer", sha256(PACK), "bicubic to 128")


def accuracy(name: str, outcomes: Sequence[Outcome]) -> Score:
    """The share that is right."""
    features = _features(outcomes)
    return share(name, features.values[:, 0], features, bootstrap=USUAL)


def overall(name: str, outcomes: Sequence[Outcome], tasks: Sequence[str] = GENEVAL) -> Score:
    """The mean of the tasks' shares, each task the same weight, as GenEval sums up."""
    chosen = [one for one in outcomes if one.task in tasks]
    features = _features(chosen)
    member = torch.tensor([[one.task == task for task in tasks] for one in chosen]).double()

    def statistic(counts: Tensor) -> Tensor:
        right = counts @ (features.values * member)
        return (right / (counts @ member).clamp_min(1)).mean(1)

    return scored(name, statistic, features, bootstrap=USUAL)


def accuracies(outcomes: Sequence[Outcome], split: str) -> dict[str, Score]:
    """Of a split, by task, and the mean over GenEval's six as "overall"."""
    mine = [one for one in outcomes if one.split == split]
    found = {task: accuracy(f"{task}, {split}", [one for one in mine if one.task == task]) for task in TASKS}
    return {**found, "overall": overall(f"overall, {split}", mine)}


def percent(score: Score) -> str:
    """ "88.0 (84.1-90.6)"."""
    low, high = (100 * min(max(end, 0.0), 1.0) for end in score.interval)
    return f"{100 * score.value:.1f} ({low:.1f}-{high:.1f})"


def _features(outcomes: Sequence[Outcome]) -> Features:
    right = torch.tensor([[float(one.right)] for one in outcomes], dtype=torch.float64)
    prompts = [f"{one.task} {one.split} {one.caption}" for one in outcomes]  # a caption may be asked in two tasks
    return Features.of(right, scorer_id(), prompts=prompts, seeds=[one.seed for one in outcomes])
