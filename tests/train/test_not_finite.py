"""Losses and gradients that are not finite: skipped, counted, and in a row the end."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from limner.core import Batch, InputError
from limner.train import checkpoint
from tests.train.runs import differences, last, train
from tests.train.toys import Duel, Plain, recipe


class Sick(Plain):
    """The loss of the calls in `bad` is `value`; with `hidden` the loss looks well and only its gradient is bad."""

    def __init__(self, bad: set[int], value: float, *, hidden: bool = False) -> None:
        super().__init__()
        self.bad, self.value, self.hidden_harm, self.calls = bad, value, hidden, 0

    def loss(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        losses = super().loss(batch, generator)
        self.calls += torch.is_grad_enabled()
        if self.calls in self.bad and torch.is_grad_enabled():
            harm = self.out.bias.sum() * 0.0
            # the slope of a square root at zero is infinite, its value is not
            losses["loss"] = losses["loss"] + (harm.sqrt() if self.hidden_harm else harm + self.value)
        return losses


@pytest.mark.parametrize(
    ("value", "hidden"), [(math.nan, False), (math.inf, False), (0.0, True)], ids=["nan", "inf", "gradient"]
)
def test_a_bad_update_is_skipped_and_counted(tmp_path: Path, value: float, hidden: bool) -> None:
    """The third update's second batch is bad: nothing moves but the counts, the random states and the norm's memory."""
    reports = train(tmp_path, recipe(checkpoint_every=0.0, keep=99), family=Sick({6}, value, hidden=hidden))
    assert [report.skipped for report in reports] == [0, 0] + [1] * 8
    before, after = (checkpoint.read(tmp_path / "checkpoints" / f"images-{n:09d}") for n in (16, 24))
    changed = {name for name in differences(before, after) if "norm.running" not in name and "num_batches" not in name}
    assert changed == {"images", "iteration", "skipped", "bad_rows", "random: losses", "random: torch"}
    assert all(one.isfinite().all() for one in last(tmp_path).tensors["model"].values())


def test_a_row_of_them_ends_the_run(tmp_path: Path) -> None:
    bad = set(range(7, 99))
    with pytest.raises(InputError) as caught:
        train(tmp_path, recipe(stop_after_bad=3, checkpoint_every=0.0), family=Sick(bad, math.nan))
    message = str(caught.value)
    assert "3 updates" in message
    assert "loss nan" in message
    assert str(tmp_path / "checkpoints" / "images-000000040") in message
    assert "\n" not in message
    assert all(one.isfinite().all() for one in last(tmp_path).tensors["model"].values())


def test_the_row_is_counted_across_a_resumption(tmp_path: Path) -> None:
    train(tmp_path, recipe(stop_after_bad=3), family=Sick({1, 3}, math.nan), until=2)
    with pytest.raises(InputError, match="3 updates"):
        train(tmp_path, recipe(stop_after_bad=3), family=Sick({1}, math.nan), resume=True)


def test_good_ones_between_break_the_row(tmp_path: Path) -> None:
    bad = {1, 3, 7, 9, 13, 15}
    reports = train(tmp_path, recipe(stop_after_bad=3), family=Sick(bad, math.nan))
    assert reports[-1].skipped == 6


def test_one_step_of_two_may_be_hopeless(tmp_path: Path) -> None:
    """The critic's loss is never finite; that the maker's is, and that the critic rests between, does not hide it."""

    class Half(Duel):
        def judge(self, batch: Batch, generator: Generator) -> dict[str, Any]:
            return {"loss": super().judge(batch, generator)["loss"] * math.nan}

    family = Half()
    critic = family.critic.weight.detach().clone()
    maker = family.out.weight.detach().clone()
    with pytest.raises(InputError, match='3 updates of step "critic"'):
        train(tmp_path, recipe(stop_after_bad=3), family=family)
    assert torch.equal(family.critic.weight, critic)
    assert not torch.equal(family.out.weight, maker)
