"""The examination as a whole: somebody who draws all that is asked, and somebody who never does."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor

from limner import families
from limner.core import InputError
from limner.data.scenes import Scenes
from limner.evaluate.intervals import wilson
from limner.evaluate.suite import KINDS, suite
from limner.evaluate.table import Table, Tally, tally
from limner.pipeline import Pipeline
from tests.painter import Config, Painter


class Copyist(Painter):
    """Draws the scenes whose captions it has learnt by heart."""

    scenes: dict[str, Tensor]

    def advance(self, sketches):
        for sketch in sketches:
            sketch.estimate, sketch.step = self.scenes[sketch.request.prompt], sketch.steps


@pytest.fixture
def copyist(monkeypatch, tokenizer):
    monkeypatch.setitem(families.TABLE, "copyist", f"{__name__}:Copyist")
    return Pipeline(Copyist(Config(), tokenizer), name="copyist", hash="abc")


def learnt(split: str, prompts: int, seed: int) -> dict[str, Tensor]:
    found = {}
    for kind in KINDS:
        scenes = Scenes(split, seed=seed, mix={kind: 1.0})
        for truth in map(scenes.truth, range(prompts)):
            pixels = torch.from_numpy(np.array(scenes.render(truth))).permute(2, 0, 1)
            found[truth.caption] = pixels.float() / 127.5 - 1
    return found


def test_the_table_has_the_model_beside_real_scenes_and_shuffled_captions(copyist):
    copyist.family.scenes = learnt("unseen", 2, 5)
    seen = []
    table = suite(copyist, split="unseen", prompts=2, seed=5, knobs={"steps": 1}, watch=seen.append)
    assert [one.truth.kind for one in seen] == [kind for kind in KINDS for _ in range(2)]
    for row in ("single", "two", "colour", "relation", "count"):
        assert (table.model[row].right, table.model[row].trials) == (2, 2)
        assert table.shuffled[row].right == 0
    assert table.model == table.real
    assert table.model["background"].trials == sum(one.truth.ground.said for one in seen)
    assert table.about == {
        "model": "copyist", "hash": "abc", "split": "unseen", "prompts": 2, "seed": 5,
        "knobs": {"steps": 1, "guidance": 1.0, "brush": "round"},
    }  # fmt: skip


def test_one_prompt_cannot_be_shuffled(copyist):
    with pytest.raises(InputError, match="2 or more of a kind"):
        suite(copyist, prompts=1)


def test_intervals_are_wilsons():
    assert wilson(50, 100) == pytest.approx((0.40383, 0.59617), abs=1e-5)
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson(10, 10) == pytest.approx((0.72247, 1.0), abs=1e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def made(split: str = "seen") -> Table:
    model = tally([]) | {"single": Tally(9, 10)}
    return Table(model, tally([]) | {"single": Tally(10, 10)}, tally([]), {"model": "m", "split": split, "knobs": {}})


def test_a_table_as_text_and_as_json():
    lines = made().to_markdown().splitlines()
    assert lines[0] == "| % right | n | model | real scenes | shuffled |"
    assert lines[2] == "| single thing | 10 | 90.0 (59.6-98.2) | 100 (72.2-100) | none |"
    row = json.loads(json.dumps(made().to_json()))["rows"]["single"]
    assert (row["model"]["right"], row["model"]["n"], row["real"]["share"]) == (9, 10, 1.0)
