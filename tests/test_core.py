from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.core import (
    Batch,
    Example,
    InputError,
    Request,
    Sketch,
    TextFeatures,
    check,
    nearest,
    parse,
    seeded,
    unparse,
)


@dataclass(frozen=True, slots=True)
class Inner:
    width: int = 8
    rate: float = 0.5


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    steps: int = 4
    solver: Literal["euler", "heun"] = "euler"
    betas: tuple[float, float] = (0.9, 0.99)
    prompts: tuple[str, ...] = ()
    share: dict[str, float] | None = None
    inner: Inner = field(default_factory=Inner)
    compiled: bool | Literal["auto"] = "auto"

    def __post_init__(self) -> None:
        check(self.steps >= 1, f"steps = {self.steps} is not 1 or more")


# ---------------------------------------------------------------------------------------------------
# Configuration.


@given(
    st.builds(
        Outer,
        name=st.text(),
        steps=st.integers(1, 10**6),
        solver=st.sampled_from(["euler", "heun"]),
        betas=st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 2),
        prompts=st.lists(st.text()).map(tuple),
        share=st.none() | st.dictionaries(st.text(), st.floats(0.0, 1.0)),
        inner=st.builds(Inner, width=st.integers(), rate=st.floats(-1.0, 1.0)),
        compiled=st.booleans() | st.just("auto"),
    )
)
def test_parse_undoes_unparse_through_json(settings: Outer) -> None:
    assert parse(Outer, json.loads(json.dumps(unparse(settings))), "here") == settings


def test_an_int_is_a_float_where_one_is_meant() -> None:
    settings = parse(Outer, {"name": "a", "inner": {"rate": 1}, "betas": [0, 1]}, "here")
    assert isinstance(settings.inner.rate, float)
    assert settings.betas == (0.0, 1.0)
    assert all(isinstance(one, float) for one in settings.betas)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": 3}, 'a.toml: unknown key "step" (did you mean "steps"?); known: name, steps, '),
        ({"inner": {"widht": 3}}, 'a.toml: inner: unknown key "widht" (did you mean "width"?)'),
        ({"name": 3}, "a.toml: name = 3 is a int, not a str"),
        ({"steps": True}, "a.toml: steps = True is a bool, not a int"),
        ({"steps": 2.0}, "a.toml: steps = 2.0 is a float, not a int"),
        ({"steps": "2"}, "a.toml: steps = '2' is a str, not a int"),
        ({"steps": 0}, "a.toml: steps = 0 is not 1 or more"),
        ({"solver": "eulr"}, "a.toml: solver = 'eulr' is not one of 'euler', 'heun' (did you mean \"euler\"?)"),
        ({"compiled": "yes"}, "a.toml: compiled = 'yes' is not one of 'auto'"),
        ({"prompts": "a"}, "a.toml: prompts = 'a' is a str, not a tuple"),
        ({"prompts": ["a", 1]}, "a.toml: prompts = 1 is a int, not a str"),
        ({"inner": 3}, "a.toml: inner = 3 is a int, not a Inner"),
        ({"inner": {"rate": "fast"}}, "a.toml: inner: rate = 'fast' is a str, not a float"),
        ({"betas": [0.9]}, "a.toml: betas = [0.9] has 1 values, not 2"),
        ({"betas": [0.9, 0.99, 0.999]}, "a.toml: betas = [0.9, 0.99, 0.999] has 3 values, not 2"),
        ({"inner": {"rate": float("nan")}}, "a.toml: inner: rate = nan is not a finite number"),
        ({"inner": {"rate": 10**400}}, "a.toml: inner: rate = inf is not a finite number"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        parse(Outer, {"name": "a", **values}, "a.toml")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(InputError, match=r'a\.toml: the key "name" is missing; add name = '):
        parse(Outer, {}, "a.toml")


def test_nearest_names_a_known_word_or_none() -> None:
    assert nearest("regresor", ["flow", "regressor"]) == ' (did you mean "regressor"?)'
    assert nearest("zzz", ["flow", "regressor"]) == ""


# ---------------------------------------------------------------------------------------------------
# Data, and the picture in the making.


def test_a_batch_maps_bytes_to_the_range_of_pixels() -> None:
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16).repeat(3, 1, 1)
    batch = Batch.of([Example(levels, "levels"), Example(levels.flip(1), "")])
    assert len(batch) == 2
    assert batch.captions == ["levels", ""]
    assert batch.images.shape == (2, 3, 16, 16)
    assert batch.images[0, 0, 0, 0] == -1.0
    assert batch.images[0, 0, -1, -1] == 1.0
    assert ((batch.images[0] + 1.0) * 127.5).round().equal(levels.float())
    moved = batch.to(torch.device("cpu"))
    assert moved.images.equal(batch.images)
    assert moved.captions == batch.captions


def test_text_features_are_taken_by_rows() -> None:
    features = TextFeatures(torch.rand(3, 4, 5), torch.rand(3, 4) > 0.5)
    assert features[1:].tokens.equal(features.tokens[1:])
    assert features[[2, 0]].mask.equal(features.mask[[2, 0]])


def test_a_seed_means_the_same_noise_whatever_was_drawn_before() -> None:
    first = torch.randn(4, generator=seeded(7))
    torch.manual_seed(3)
    assert torch.randn(4, generator=seeded(7)).equal(first)
    assert not torch.randn(4, generator=seeded(8)).equal(first)


def test_a_sketch_has_an_image_when_it_is_done_and_a_preview_before() -> None:
    sketch = Sketch(request=Request(prompt="", seed=0, knobs=None), generator=seeded(0), steps=2)
    assert sketch.preview() is None
    sketch.estimate, sketch.step = torch.full((3, 2, 2), 1.5), 1
    assert sketch.preview() is sketch.estimate
    assert not sketch.done
    with pytest.raises(AssertionError, match="at step 1 of 2"):
        _ = sketch.image
    sketch.step = 2
    assert sketch.done
    assert sketch.image.equal(torch.ones(3, 2, 2))


def test_what_may_be_anything_is_taken_as_it_is() -> None:
    @dataclass(frozen=True)
    class Loose:
        knobs: dict[str, Any]

    values = {"knobs": {"steps": 3, "solver": "heun", "sizes": [1, 2]}}
    assert unparse(parse(Loose, values, "here")) == values
