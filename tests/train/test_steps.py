"""Families of several steps: who learns when, and who does not; accumulation; validation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limner.core import Batch, Step
from limner.train.looking import validate
from limner.train.state import State
from tests.train.runs import last, train
from tests.train.toys import Duel, Noise, Plain, recipe


def test_steps_run_in_order_and_every_so_often(tmp_path: Path) -> None:
    family = Duel()
    reports = train(tmp_path, recipe(accumulate=1, validate_every=1000), family=family, until=4)
    assert family.seen == ["critic", "maker", "maker", "critic", "maker", "maker"]
    assert [sorted(report.losses) for report in reports] == [["critic", "maker"], ["maker"]] * 2


@pytest.mark.parametrize(("chosen", "moves"), [("critic", True), ("maker", False)])
def test_only_the_chosen_steps_parameters_change(tmp_path: Path, chosen: str, moves: bool) -> None:
    family = Duel()
    before = {name: one.detach().clone() for name, one in family.named_parameters()}
    train(tmp_path, recipe(steps=[chosen]), family=family)
    for name, one in family.named_parameters():
        assert torch.equal(one, before[name]) is (name.startswith("critic") is not moves), name
        assert one.requires_grad
        assert one.grad is None


def test_a_step_learns_at_its_own_rate(tmp_path: Path) -> None:
    """The first update of AdamW is of the size of the rate, whatever the gradient."""

    class Hasty(Duel):
        def steps(self) -> list[Step]:
            critic, maker = super().steps()
            return [replace(critic, rate=4.0), maker]

    family = Hasty()
    before = {name: one.detach().clone() for name, one in family.named_parameters()}
    settings = recipe(accumulate=1, clip=0.0)
    settings = replace(settings, optimizer=replace(settings.optimizer, name="adamw", warmup=0, decay=0.0))
    train(tmp_path, settings, family=family, until=1)
    moved = {name: (one - before[name]).abs().max().item() for name, one in family.named_parameters()}
    assert moved["critic.weight"] == pytest.approx(4.0 * settings.optimizer.lr, rel=1e-3)
    assert moved["out.weight"] == pytest.approx(settings.optimizer.lr, rel=1e-3)


def test_accumulated_batches_make_the_gradient_of_one_large_one(tmp_path: Path) -> None:
    """Without noise, dropout and batch norm four batches of two are one of eight."""

    class Quiet(Plain):
        def predict(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.also(self.hidden(self.into(x - self.mean))))

        def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
            x = batch.images.mean(dim=(2, 3))
            return {"loss": (self.predict(x) - 0.5).square().mean()}

    train(tmp_path / "one", recipe(batch=8, accumulate=1, images=8, precision="fp32"), Quiet)
    train(tmp_path / "four", recipe(batch=2, accumulate=4, images=8, precision="fp32"), Quiet)
    one, four = (last(tmp_path / name).tensors["optimizer"] for name in ("one", "four"))
    gradients = [name for name in one if name.endswith(("/momentum", "/exp_avg"))]
    assert len(gradients) == 6
    assert all(torch.allclose(one[name], four[name], atol=1e-6) for name in gradients)


def test_validation_is_of_the_averages_and_the_same_each_time() -> None:
    state = State(Plain(), recipe())
    first = validate(state, Noise(1))
    state.generator.manual_seed(99)
    torch.rand(7)
    with torch.no_grad():
        state.family.out.weight.add_(1.0)  # the average is not moved by this
    assert validate(state, Noise(1)) == first
    assert state.family.training
    state.ema.averages["out.weight"].add_(1.0)
    assert validate(state, Noise(1)) != first


def test_validation_weighs_a_last_short_batch_by_its_size() -> None:
    class Brightness(Plain):
        def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
            return {"loss": batch.images.mean() + 0.0 * self.out.weight.sum()}

    source = Noise(3)
    expected = Batch.of([source[index] for index in range(6)]).images.mean().item()
    found = validate(State(Brightness(), recipe(batch=4, validation_images=6)), source)
    assert found["plain"]["loss"] == pytest.approx(expected, rel=1e-5)


def test_gradients_are_clipped_and_the_rate_follows_the_schedule(tmp_path: Path) -> None:
    """Without inertia AdamW's first moment is the gradient that it was given."""
    settings = recipe(clip=0.01, images=8)
    settings = replace(settings, optimizer=replace(settings.optimizer, name="adamw", betas=(0.0, 0.0)))
    reports = train(tmp_path, settings)
    assert reports[0].norms["plain"] > 0.01
    moments = [one for name, one in last(tmp_path).tensors["optimizer"].items() if name.endswith("/exp_avg")]
    assert torch.nn.utils.get_total_norm(moments).item() == pytest.approx(0.01, rel=1e-4)
    assert reports[0].share == pytest.approx(8 / 20 * 0.02)
