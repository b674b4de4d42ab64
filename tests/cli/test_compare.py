"""limner compare as a command: equal budgets, one table, and going on where it was stopped."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from limner.cli import entries as entering
from limner.cli import trainings
from limner.cli.entries import Budget
from limner.core import InputError
from limner.train import machine

RECIPE = """
[model]
family = "regressor"
preset = "tiny"
[model.config]
width = {width}
[text]
vocabulary = 300
captions = 200
[train]
batch = 8
compile = "off"
validation_images = 8
checkpoint_every = 0.0
"""


@pytest.fixture
def recipes(tmp_path, monkeypatch, two_tasks):
    monkeypatch.setattr(machine, "prepare", lambda: None)
    monkeypatch.setattr(trainings, "PATIENCE", 0.05)
    monkeypatch.chdir(tmp_path)
    for name, width in (("small", 8), ("large", 16)):
        (tmp_path / f"{name}.toml").write_text(RECIPE.format(width=width))
    return tmp_path


def test_two_recipes_side_by_side_and_again_as_they_are(run, recipes):
    command = ("compare", "small.toml", "large.toml", "--budget", "32img", "--n", 4, "--out", "out", "--jobs", 2)
    result = run(*command)
    assert result.code == 0, result.err
    found = json.loads((recipes / "out" / "report.json").read_text())
    assert found["setting"].startswith("Each recipe was given 32 images, on 1 of ")
    costs = {one["name"]: one["cost"] for one in found["contestants"]}
    assert {cost["images"] for cost in costs.values()} == {32}
    assert costs["large"]["parameters"] > costs["small"]["parameters"]
    assert costs["large"]["training_flops"] > costs["small"]["training_flops"] > 3 * costs["small"]["drawing_flops"] > 0
    assert all(cost["memory"] > 2**26 for cost in costs.values())
    assert len(found["differences"]) == 2
    assert {one["called"] for one in found["differences"]} <= {True, False}
    page = (recipes / "out" / "report.md").read_text()
    for words in ("What each cost", "Which differences are real", "The same captions side by side"):
        assert words in page
    before = {path: path.stat().st_mtime_ns for path in (recipes / "out").rglob("outcomes.jsonl")}
    shutil.rmtree(recipes / "out" / "pictures")
    assert "Training" not in run(*command).err  # all is there
    assert before == {path: path.stat().st_mtime_ns for path in (recipes / "out").rglob("outcomes.jsonl")}
    runs = run("compare", "out/small", "out/large", "--n", 4, "--out", "again")
    assert runs.code == 0, runs.err
    setting = json.loads((recipes / "again" / "report.json").read_text())["setting"]
    assert setting == "As they were, with what they had been given: small, large."
    other = run(*command, "--set", "optimizer.lr=0.5")
    assert other.code == 2
    assert "out/small was trained with optimizer.lr = 0.001, not 0.5; choose another --out" in other.err
    fewer = run("compare", "out/small", "out/large", "--n", 5, "--out", "again")
    assert "again/small-examination holds an examination with count = 4, not 5" in fewer.err


def test_a_training_that_was_stopped_goes_on(run, recipes, monkeypatch):
    command = ("compare", "small.toml", "large.toml", "--n", 4, "--out", "out")

    def interrupted(entry, code, console):
        assert code == 0
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainings, "_check_ended_well", interrupted)
        assert run(*command, "--budget", "16img").code == 130
    assert not (recipes / "out" / "large").exists()
    result = run(*command, "--budget", "16img")
    assert result.code == 0, result.err
    assert "Training large" in result.err
    assert "Training small" not in result.err


def test_a_budget_by_the_clock_and_by_operations():
    assert Budget.parse("20m") == Budget("seconds", 1200)
    assert Budget.parse("200kimg") == Budget("images", 200_000)
    assert Budget.parse("1.5Pflop") == Budget("flops", 1.5e15)
    for wrong in ("20", "m", "-3m", "0s", "3 m", "2y"):
        with pytest.raises(InputError, match="write 20m, say"):
            Budget.parse(wrong)


def ordered(folder, **changes):
    usual = entering.Order(
        entries=(), budget=Budget("images", 8), jobs=1, n=4, seed=0, changes=(), judge=None, extractors=(),
        out=folder / "out",
    )  # fmt: skip
    return replace(usual, **changes)


def test_all_are_trained_on_the_data_of_the_first(recipes, capsys):
    (recipes / "own.toml").write_text(RECIPE.format(width=8) + "seed = 3\n[data]\nseed = 5\nmix = {single = 1.0}\n")
    entries = (recipes / "small.toml", recipes / "own.toml")
    order = ordered(recipes, entries=entries)
    small, own = entering.entries_of(order, Console(stderr=True, soft_wrap=True))
    assert (own.recipe.data, own.recipe.train.seed) == (small.recipe.data, small.recipe.train.seed)
    assert "own.toml: it has data of its own, and is trained on those of small" in capsys.readouterr().err
    own, small = entering.entries_of(replace(order, entries=entries[::-1]), Console(stderr=True, soft_wrap=True))
    assert small.recipe.data.mix == {"single": 1.0}
    assert (small.recipe.data.seed, small.recipe.train.seed) == (5, 3)


def test_operations_are_turned_into_images(recipes):
    orders = [ordered(recipes, budget=Budget("flops", amount)) for amount in (1e10, 2e10)]
    counts = [entering._entry(recipes / "small.toml", order).recipe.train.images for order in orders]
    assert counts[1] == pytest.approx(2 * counts[0], rel=0.02)


def test_what_cannot_be_compared_is_refused_in_one_line(run, recipes):
    (recipes / "empty").mkdir()
    (recipes / "judge.toml").write_text(RECIPE.format(width=8).replace("regressor", "clip").replace("width = 8", ""))
    for words, said in (
        (("small.toml", "large.toml"), "give --budget 20m, say"),
        (("small.toml", "small.toml", "--budget", "8img"), 'two entries are called "small"'),
        (("small.toml", "judge.toml", "--budget", "8img"), "clip draws nothing"),
        (("small.toml", "nowhere.toml", "--budget", "8img"), "there is no recipe and no run nowhere.toml"),
        (("small.toml", "--budget", "8img"), "there is 1 to compare; give 2 or more"),
        (("small.toml", "empty", "--budget", "8img"), "empty holds no run: give the folder that limner train wrote"),
    ):
        result = run("compare", *words)
        assert result.code == 2
        assert said in result.err
        assert result.err.count("\n") == 1
