"""The table, and families on their way to disk and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from limner import families, store
from limner.core import Family, InputError, Request, unparse
from limner.drawing import draw
from limner.store import weights
from tests.painter import Config, Knobs, Painter, painter

__all__ = ["painter"]


def test_the_table_names_what_is_there():
    for name in families.TABLE:
        kind = families.find(name)
        assert issubclass(kind, Family)
        assert {"tiny", "base"} <= kind.presets.keys()
    with pytest.raises(InputError, match=r'unknown family "flwo" \(did you mean "flow"\?\)'):
        families.find("flwo")


def test_building_reads_a_mapping_strictly_and_takes_a_config(painter, tokenizer):
    for config in (Config(width=6), {"width": 6}):
        family = families.build("painter", config, tokenizer)
        assert family.config == Config(width=6)
        assert families.name_of(family) == "painter"
    with pytest.raises(InputError, match=r'painter: config: unknown key "widht" \(did you mean "width"\?\)'):
        families.build("painter", {"widht": 6}, tokenizer)


def test_saved_and_loaded_it_is_the_same(painter, tmp_path):
    families.save(tmp_path / "model", painter, card="# A painter")
    loaded = families.load(tmp_path / "model")
    assert type(loaded) is Painter
    assert not loaded.training
    assert loaded.config == painter.config
    assert loaded.tokenizer.to_json() == painter.tokenizer.to_json()
    for name, tensor in painter.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert torch.equal(loaded.ramp, painter.ramp)  # computed, never stored
    assert all(one.requires_grad for one in loaded.parameters())
    requests = [Request(prompt="a red square", seed=seed, knobs=Knobs()) for seed in (1, 2)]
    for one, other in zip(draw(painter, requests), draw(loaded, requests), strict=True):
        assert torch.equal(one, other)
    assert store.describe(tmp_path / "model").card == "# A painter"


def test_half_precision_halves_the_parameters_alone(painter, tmp_path):
    families.save(tmp_path / "model", painter, dtype=torch.float16)
    on_disk = weights.load(tmp_path / "model/model.safetensors")
    assert on_disk["embed.weight"].dtype == torch.float16
    assert on_disk["scale"].dtype == torch.float32
    loaded = families.load(tmp_path / "model")
    assert loaded.embed.weight.dtype == torch.float32
    assert torch.equal(loaded.embed.weight, painter.embed.weight.half().float())
    assert torch.equal(loaded.scale, painter.scale)


def test_numbers_too_large_for_half_precision_are_not_written(painter, tmp_path):
    with torch.no_grad():
        painter.colour.weight[0, 0] = 1e5
    with pytest.raises(InputError, match=r"colour\.weight holds numbers too large"):
        families.save(tmp_path / "model", painter, dtype=torch.float16)
    assert not list(tmp_path.iterdir())
    families.save(tmp_path / "model", painter, dtype=torch.bfloat16)


def stored(painter: Painter, path: Path, **changes: object) -> Path:
    parts = {
        "family": "painter", "config": unparse(painter.config), "tokenizer": painter.tokenizer.to_json(),
        "tensors": painter.state_dict(),
    }  # fmt: skip
    store.write(path, **{**parts, **changes})  # type: ignore[arg-type]
    return path


def test_weights_that_do_not_fit_are_listed(painter, tmp_path):
    tensors = dict(painter.state_dict())
    tensors["colour.wait"] = tensors.pop("colour.weight")
    tensors["embed.weight"] = tensors["embed.weight"][:, :3]
    tensors["scale"] = torch.tensor([1])
    path = stored(painter, tmp_path / "model", tensors=tensors)
    with pytest.raises(InputError) as caught:
        families.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "colour.weight is missing, colour.wait is unknown" in message
    assert "and 1 more" in message
    tensors["colour.weight"] = tensors.pop("colour.wait")
    with pytest.raises(InputError, match=r"embed\.weight is 300 x 3 where it should be 300 x 4"):
        families.load(stored(painter, tmp_path / "model", tensors=tensors))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"family": "paintre"}, 'unknown family "paintre" (did you mean "painter"?)'),
        ({"config": {"widht": 4}}, 'config: unknown key "widht" (did you mean "width"?)'),
        ({"config": {"width": "four"}}, "config: width = 'four' is a str, not a int"),
        ({"tokenizer": json.dumps({"vocabulary": []})}, "tokenizer"),
    ],
)
def test_what_is_wrong_in_a_model_folder_is_named(painter, tmp_path, changes, words):
    with pytest.raises(InputError) as caught:
        families.load(stored(painter, tmp_path / "model", **changes))
    assert words in str(caught.value)
