"""A run that was stopped and resumed is, bit for bit, the run that was not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from limner.core import Batch, Family, InputError
from limner.train.recipe import Samples
from tests.train.runs import differences, last, train
from tests.train.toys import Config, Duel, Inner, Letters, Noise, Plain, recipe


@pytest.mark.parametrize("kind", [Plain, Duel])
@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_resumed_from_anywhere(tmp_path: Path, kind: type[Family], name: str) -> None:
    settings = recipe()
    settings = replace(settings, optimizer=replace(settings.optimizer, name=name))
    train(tmp_path / "whole", settings, kind)
    whole = last(tmp_path / "whole")
    for until in (1, 4, 5, 9):
        folder = tmp_path / f"until{until}"
        torch.rand(until)  # the process's own random state is another one each time
        assert len(train(folder, settings, kind, until=until)) == until
        assert last(folder).state["images"] == until * 8
        train(folder, settings, kind, resume=True)
        assert differences(whole, last(folder)) == []


def test_resumed_at_every_iteration(tmp_path: Path) -> None:
    train(tmp_path / "whole", recipe(images=40))
    while not (tmp_path / "pieces").exists() or last(tmp_path / "pieces").state["images"] < 40:
        train(tmp_path / "pieces", recipe(images=40), until=1, resume=(tmp_path / "pieces").exists())
    assert differences(last(tmp_path / "whole"), last(tmp_path / "pieces")) == []


def test_comparison_sees_one_bit(tmp_path: Path) -> None:
    """The test of the test: another seed, and one more update, are seen in every file."""
    train(tmp_path / "one", recipe())
    train(tmp_path / "other", recipe(seed=1))
    found = differences(last(tmp_path / "one"), last(tmp_path / "other"))
    assert {name.split(":")[0] for name in found} == {"model", "ema", "optimizer", "random"}


class Careless(Plain):
    """Its loss uses the process's random state, in evaluation too."""

    def loss(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        torch.rand(1)
        return super().loss(batch, generator)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """Validation, pictures and checkpoints may come at any interval: the weights are the same."""
    seldom, often = recipe(), recipe(validate_every=8, samples_every=8, checkpoint_every=0.0)
    prompts = Samples(prompts=("a", "b"))
    train(tmp_path / "seldom", seldom, Careless)
    train(tmp_path / "often", replace(often, samples=prompts), Careless)
    assert differences(last(tmp_path / "seldom"), last(tmp_path / "often")) == []


def test_every_example_is_seen_once_and_in_order(tmp_path: Path) -> None:
    first, second = Noise(), Noise()
    train(tmp_path, recipe(), until=3, source=first, calibrate=False)
    train(tmp_path, recipe(), resume=True, source=second)
    assert first.read[:24] == list(range(24))
    assert second.read[:56] == list(range(24, 80))


def test_calibrated_once_and_only_from_nothing(tmp_path: Path) -> None:
    fresh, resumed, trained = Plain(), Plain(), Plain()
    train(tmp_path / "fresh", recipe(), family=fresh, until=2)
    train(tmp_path / "fresh", recipe(), family=resumed, resume=True)
    train(tmp_path / "trained", recipe(), family=trained, calibrate=False)
    assert (fresh.calibrated, resumed.calibrated, trained.calibrated) == (1024, 0, 0)
    assert torch.equal(fresh.mean, resumed.mean)


def test_a_run_is_not_overwritten_nor_made_up(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run to resume"):
        train(tmp_path, recipe(), resume=True)
    train(tmp_path, recipe(), until=1)
    with pytest.raises(InputError, match="already holds a run"):
        train(tmp_path, recipe())


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    train(tmp_path, recipe(), until=1)
    wider = Plain(Config(inner=Inner(width=5)), Letters())
    with pytest.raises(InputError, match=r'"into.weight" is \(3, 3\), the recipe\'s model has \(5, 3\)'):
        train(tmp_path, recipe(), family=wider, resume=True)
    with pytest.raises(InputError, match=r'lacks "critic.weight"'):
        train(tmp_path, recipe(), Duel, resume=True)


def test_the_run_folder(tmp_path: Path) -> None:
    """The recipe as resolved, the tokenizer, a line for each iteration, the model at each save, the averages in it."""
    saved: list[dict[str, torch.Tensor]] = []

    def save(folder: Path, family: Family) -> None:
        assert folder == tmp_path / "model"
        saved.append({name: one.detach().clone() for name, one in family.named_parameters()})

    train(tmp_path, recipe(), save=save)
    assert (tmp_path / "recipe.toml").read_text() == recipe().to_toml()
    assert (tmp_path / "tokenizer.json").read_text() == "{}"
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines if "losses" in line] == list(range(8, 88, 8))
    assert [line["images"] for line in lines if "validation" in line] == [40, 80]
    ema = last(tmp_path).tensors["ema"]
    assert len(saved) == 2
    assert all(torch.equal(saved[-1][name], ema[name]) for name in ema)


def test_pictures_on_the_way(tmp_path: Path) -> None:
    from PIL import Image

    settings = replace(recipe(), samples=Samples(prompts=("a", "b", "c")))
    reports = train(tmp_path, settings)
    drawn = [report.picture for report in reports if report.picture]
    assert [path.name for path in drawn] == ["images-000000040.png", "images-000000080.png"]
    with Image.open(drawn[0]) as picture:
        assert picture.size == (8, 8)


def test_unknown_knob_and_unknown_step(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r'samples.knobs: unknown key "step" \(did you mean "steps"\?\)'):
        train(tmp_path / "a", replace(recipe(), samples=Samples(prompts=("a",), knobs={"step": 1})))
    with pytest.raises(InputError, match='no step "fly"; it has plain'):
        train(tmp_path / "b", recipe(steps=["fly"]))


def test_the_memory_of_a_loaded_model_is_left_alone(tmp_path: Path) -> None:
    """It may be a mapped file, at any offset; arithmetic on unaligned numbers may round in another way."""
    family = Plain()
    mapped = torch.zeros(10)
    mapped[1:] = family.hidden.weight.detach().flatten()
    before = mapped.clone()
    family.hidden.weight.data = mapped[1:].view(3, 3)
    train(tmp_path, recipe(), family=family)
    assert torch.equal(mapped, before)
    assert not torch.equal(family.hidden.weight.detach().flatten(), before[1:])
    assert family.hidden.weight.data_ptr() % 64 == 0
