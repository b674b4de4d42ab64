"""Steps that are trained in a part of the run: one after the other, by a schedule of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limner.core import InputError, Step
from limner.train.recipe import Recipe
from limner.train.state import State
from tests.train.runs import differences, last, train
from tests.train.toys import Duel, recipe

ONE_AFTER_THE_OTHER = {"critic": (0.0, 0.4), "maker": (0.4, 1.0)}


def test_a_step_is_trained_in_its_stage_alone(tmp_path: Path) -> None:
    """Of ten iterations the critic has the first four, of which it rests in every second."""
    family = Duel()
    before = {name: one.detach().clone() for name, one in family.named_parameters()}
    reports = train(tmp_path, recipe(stages=ONE_AFTER_THE_OTHER, validate_every=1000, images=80), family=family)
    assert [sorted(report.losses) for report in reports] == [["critic"], [], ["critic"], []] + [["maker"]] * 6
    halfway = train(tmp_path / "half", recipe(stages=ONE_AFTER_THE_OTHER, images=80), Duel, until=4)
    moved = {
        name
        for name, one in last(tmp_path / "half").tensors["model"].items()
        if name in before and not one.equal(before[name])
    }
    assert len(halfway) == 4
    assert moved == {"critic.weight", "critic.bias"}
    assert not any(one.equal(before[name]) for name, one in family.named_parameters())


def test_a_stage_has_a_schedule_as_though_it_were_the_run(tmp_path: Path) -> None:
    whole = recipe(images=48, validate_every=1000)
    staged = recipe(images=80, stages=ONE_AFTER_THE_OTHER, validate_every=1000)
    shares = [report.share for report in train(tmp_path / "whole", whole, Duel)]
    assert [report.share for report in train(tmp_path / "staged", staged, Duel)][4:] == pytest.approx(shares)
    assert len(shares) == 6


class Cooling(Duel):
    """A duel whose steps are told how far they are."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, list[float]] = {"critic": [], "maker": []}

    def steps(self) -> list[Step]:
        return [replace(step, anneal=self.told[step.name].append, every=1) for step in super().steps()]


def test_a_step_is_told_before_each_update_how_much_of_its_stage_has_passed(tmp_path: Path) -> None:
    """The same when it is resumed, and when nothing is said of stages the stage is the run."""
    settings = recipe(stages=ONE_AFTER_THE_OTHER)
    train(tmp_path / "run", settings, family=(family := Cooling()), until=6)
    assert family.told["critic"] == pytest.approx([0.0, 0.25, 0.5, 0.75])
    train(tmp_path / "run", settings, family=(again := Cooling()), resume=True)
    assert again.told["critic"] == []
    assert family.told["maker"] + again.told["maker"] == pytest.approx([number / 6 for number in range(6)])
    train(tmp_path / "plain", recipe(), family=(plain := Cooling()))
    assert plain.told["critic"] == plain.told["maker"] == pytest.approx([number / 10 for number in range(10)])


def test_warm_up_is_counted_from_where_a_stage_began(tmp_path: Path) -> None:
    """In images, of which a resumed run remembers how many there had been."""
    settings = recipe(stages=ONE_AFTER_THE_OTHER)
    train(tmp_path, settings, Duel, until=5)
    assert last(tmp_path).state["began"] == {"critic": 0, "maker": 32}
    report, *_ = train(tmp_path, settings, Duel, resume=True)
    assert report.share == pytest.approx(16 / 20)  # of 20 images


def test_steps_that_have_not_begun_are_not_validated(tmp_path: Path) -> None:
    reports = train(tmp_path, recipe(stages=ONE_AFTER_THE_OTHER, validate_every=16), Duel)
    assert [sorted(report.validation) for report in reports if report.validation] == [
        ["critic"],
        *[["critic", "maker"]] * 4,
    ]


def test_a_run_resumed_in_a_later_stage_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    settings = recipe(stages=ONE_AFTER_THE_OTHER)
    train(tmp_path / "whole", settings, Duel)
    for until in (3, 6):
        train(tmp_path / str(until), settings, Duel, until=until)
        train(tmp_path / str(until), settings, Duel, resume=True)
        assert differences(last(tmp_path / "whole"), last(tmp_path / str(until))) == []


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({"critic": [0.0, 0.4], "maker": [0.5, 1.0]}, "from 40% of the run on there is nothing to train"),
        ({"critic": [0.0, 0.4], "maker": [0.3, 0.9]}, "from 90% of the run on there is nothing to train"),
        ({"critik": [0.0, 0.4]}, 'train.stages: plain has no step "critik"; it has critic, maker'),
    ],
)
def test_stages_that_leave_a_gap_or_name_no_step_are_refused(stages: dict[str, list[float]], message: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(InputError, match=message):
        State(Duel(), recipe(stages=stages))


@pytest.mark.parametrize("part", [[0.5, 0.5], [-0.1, 1.0], [0.5, 1.1]])
def test_a_stage_is_a_part_of_a_run(part: list[float]) -> None:
    with pytest.raises(InputError, match=r"stages: critic = \[.*\] is no part of a run"):
        recipe(stages={"critic": part})


def test_stages_are_written_in_a_recipe_and_back() -> None:
    import tomllib

    settings = recipe(stages=ONE_AFTER_THE_OTHER)
    assert Recipe.parse(tomllib.loads(settings.to_toml()), "again") == settings
    assert settings.train.stages == ONE_AFTER_THE_OTHER
