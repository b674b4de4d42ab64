"""limner score as a command, with an examination that is over at once."""

from __future__ import annotations

import json

import pytest

from limner.cli import scoring
from limner.evaluate.table import Table, Tally, tally
from limner.pipeline import Pipeline


@pytest.fixture
def asked(monkeypatch, painter):
    """What the examination was asked for, time by time."""
    calls = []

    def at_once(pipeline, *, split, watch, **rest):
        calls.append((pipeline.name, split, rest))
        model = tally([]) | {"single": Tally(9, 10)}
        return Table(model, tally([]), tally([]), {"model": "m", "split": split, "knobs": {}})

    monkeypatch.setattr(scoring, "suite", at_once)
    monkeypatch.setattr(scoring.Pipeline, "from_pretrained", lambda name: Pipeline(painter, name=name))
    return calls


def test_both_splits_are_scored_with_what_was_typed(run, asked):
    result = run("score", "--model", "m", "--prompts", 3, "--seed", 4, "--steps", 8, "--json")
    assert [entry["about"]["split"] for entry in json.loads(result.out)] == ["seen", "unseen"]
    assert asked[1] == ("m", "unseen", {"prompts": 3, "seed": 4, "knobs": {"steps": 8}})
    assert "90.0 (59.6-98.2)" in run("score", "--model", "m").out
    assert asked[-1][2] == {"prompts": 500, "seed": 0, "knobs": {}}


def test_several_numbers_of_steps_are_several_tables(run, asked, tmp_path):
    folder = tmp_path / "out"
    command = ("score", "--steps", 8, "--steps", 1, "--steps", 8, "--guidance", 2, "--out", folder)
    assert run(*command).code == 0
    assert [(split, rest["knobs"]) for _, split, rest in asked] == [
        (split, {"guidance": 2.0, "steps": steps}) for steps in (8, 1) for split in ("seen", "unseen")
    ]
    assert {path.name for path in folder.iterdir()} == {"seen-8", "unseen-8", "seen-1", "unseen-1"}


def test_everything_is_kept_in_a_new_folder_and_in_no_other(run, asked, tmp_path):
    folder = tmp_path / "out"
    assert run("score", "--out", folder).code == 0
    assert json.loads((folder / "unseen" / "table.json").read_text())["about"]["split"] == "unseen"
    assert "| single thing | 10 | 90.0 " in (folder / "seen" / "table.md").read_text()
    result = run("score", "--out", folder)
    assert (result.code, result.err) == (2, f"limner: --out {folder} exists already; name a new folder\n")
    assert len(asked) == 2
