"""A recipe is read strictly, and what is printed reads back as the same recipe."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limner.core import InputError
from limner.train import toml
from limner.train.recipe import Model, Recipe, amend
from tests.train.toys import Config, Inner

WHOLE = """
[model]
family = "flow"
preset = "tiny"
[model.config]
depth = 3
[model.config.text]
width = 32
[data.mix]
single = 0.5
[train]
batch = 8
milestone_every = 1000
[optimizer]
betas = [0.9, 0.99]
lr = 1
[samples]
prompts = ["a red \\"star\\"", "été \\u007f"]
[samples.knobs]
steps = 4
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "own.toml"
    file.write_text(WHOLE, encoding="utf-8")
    return file


def test_values_and_defaults(path: Path) -> None:
    recipe = Recipe.read(path)
    assert recipe.model.config == {"depth": 3, "text": {"width": 32}}
    assert recipe.data.mix == {"single": 0.5}
    assert recipe.optimizer.betas == (0.9, 0.99)
    assert recipe.optimizer.lr == 1.0
    assert recipe.samples.knobs == {"steps": 4}
    assert recipe.train.batch == 8
    assert recipe.train.accumulate == 1


def test_printed_and_read_again(path: Path, tmp_path: Path) -> None:
    recipe = Recipe.read(path)
    again = tmp_path / "again.toml"
    again.write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe.read(again) == recipe


def test_tables_in_a_list_are_printed_too() -> None:
    towers = [{"width": 3, "pad": None, "text": {"depth": 1}}, {}]
    recipe = Recipe(model=Model(family="flow", config={"towers": towers}))
    assert tomllib.loads(recipe.to_toml())["model"]["config"] == {"towers": [{"width": 3, "text": {"depth": 1}}, {}]}


def test_overrides(path: Path) -> None:
    recipe = Recipe.read(
        path, ["train.batch=32", "data.source=my pictures", "model.config.text.width=64", 'train.steps=["flow"]']
    )
    assert recipe.train.batch == 32
    assert recipe.data.source == "my pictures"
    assert recipe.model.config["text"]["width"] == 64
    assert recipe.train.steps == ("flow",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("train.bach=3", ["own.toml", "train", '"bach"', 'did you mean "batch"']),
        ("trian.batch=3", ["own.toml", '"trian"', 'did you mean "train"']),
        ("train.batch=many", ["own.toml", "train", "batch", "'many'"]),
        ("train.batch=0", ["batch = 0", "above 0"]),
        ("train.batch=1.5", ["batch", "1.5"]),
        ("train.precision=fp16", ["precision", "'fp16'", "'bf16'"]),
        ("train.ema=0.999", ["ema = 0.999", "half-life in images"]),
        ("optimizer.name=adam", ["name", "'adam'", 'did you mean "adamw"']),
        ("optimizer.decay=2", ["decay = 2", "0 to 1"]),
        ("model.config=3", ["own.toml", "[model.config]"]),
        ("batch=3", ["--set", "train.batch=64"]),
        ("train.batch", ["--set", "train.batch=64"]),
        ("train.batch.size=3", ["--set", '"batch" is not a table']),
    ],
)
def test_what_is_wrong_is_named(path: Path, change: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        Recipe.read(path, [change])
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [("[model]\n[train\nbatch = 8", "line 2"), ("[train]\nbatch = 8\n", 'the key "model" is missing')],
)
def test_files_that_are_no_recipe(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        Recipe.read(file)
    assert str(file) in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such recipe"):
        Recipe.read(tmp_path / "none.toml")
    with pytest.raises(InputError, match="not a TOML file"):
        Recipe.read(tmp_path)


def test_a_preset_is_amended_strictly() -> None:
    assert amend(Config(), {"inner": {"width": 7}}, "here") == replace(Config(), inner=Inner(width=7))
    with pytest.raises(InputError, match=r'here: inner: unknown key "widht" \(did you mean "width"\?\)'):
        amend(Config(), {"inner": {"widht": 7}}, "here")


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
leaves = st.one_of(texts, st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans(), st.lists(texts, max_size=3))
tables = st.dictionaries(texts, leaves, max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(texts, st.one_of(leaves, tables, st.dictionaries(texts, tables, max_size=2)), max_size=4))
def test_toml_of_anything_reads_back(values: dict[str, Any]) -> None:
    assert _comparable(tomllib.loads(toml.dumps(values))) == _comparable(_without_empty_tables(values))


def _without_empty_tables(values: dict[str, Any]) -> dict[str, Any]:
    cleaned = {key: _without_empty_tables(one) if isinstance(one, dict) else one for key, one in values.items()}
    return {key: one for key, one in cleaned.items() if one != {}}


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _comparable(one) for key, one in value.items()}
    return "nan" if isinstance(value, float) and math.isnan(value) else value
