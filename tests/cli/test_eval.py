"""limner eval as a command: where the report goes, what it goes on with, and what is refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from limner import families, shelf
from limner.evaluate.suites.scenes import answers, suite
from limner.families.clip import CLIP
from tests.folders import captioned, listed


@pytest.fixture
def home(home, tokenizer):
    """With a shipped CLIP, too."""
    families.save(shelf.SHIPPED / shelf.JUDGE, CLIP(CLIP.presets["tiny"], tokenizer))
    return home


def test_a_report_of_a_model(run, home, two_tasks, monkeypatch):
    monkeypatch.setattr(suite, "SWEEPS", {})
    monkeypatch.setattr(
        answers.os, "sched_getaffinity", lambda process: {0}
    )  # the painter is known to this process alone
    result = run("eval", "--n", 4, "--set", "steps=1")
    assert result.code == 0, result.err
    assert "evaluations/flow-scenes/report.html" in result.out
    assert "drawing and reading: 8 of 8" in result.err
    found = json.loads((home / "evaluations" / "flow-scenes" / "report.json").read_text())
    assert found["about"]["knobs"]["steps"] == 1
    assert "of which 8 are there already" in run("eval", "--n", 4, "--set", "steps=1").err
    other = run("eval", "--n", 4, "--set", "steps=2")
    assert other.code == 2
    assert "holds an examination with knobs" in other.err


def test_somebodys_pictures_and_their_held_out_part(run, home):
    for split in ("train", "validation"):
        captioned(home / "mine" / split, count=40)
    result = run("eval", "--data", "mine", "--n", 8, "--set", "steps=1")
    assert result.code == 0, result.err
    found = json.loads((home / "evaluations" / "flow-scenes-captions" / "report.json").read_text())
    assert (found["suite"], found["captions"]) == ("captions", 8)


def test_other_programs_prompts_are_drawn(run, home):
    (home / "prompts.jsonl").write_text('{"prompt": "a red apple", "tag": "single_object"}\n')
    result = run("eval", "--prompts", "prompts.jsonl", "--out", "geneval")
    assert result.code == 0, result.err
    assert {path.name for path in (home / "geneval" / "00000").iterdir()} == {"metadata.jsonl", "grid.png", "samples"}


def wrong(home):
    """Every way to ask for what cannot be, and what is said of it."""
    (home / "gap.txt").write_text("a red apple\n\na blue star\n")
    save_file({"fc.weight": torch.zeros(2, 3)}, home / "shape.safetensors")
    captioned(home / "few", count=20)
    listed(home / "one", [{"file_name": "0000.png", "text": "a circle"}], count=1)
    return (
        (("nothing",), 'there is no model "nothing"'),
        (("--set", "stepps=2"), 'unknown key "stepps" (did you mean "steps"?)'),
        (("--n", 3), "4"),
        (("--prompts", "gap.txt"), "gap.txt line 2 is empty; write a prompt there, or remove the line"),
        (("--extractor", "inception=shape.safetensors"), "shape.safetensors does not hold"),
        (("--extractor", "dinov2=nowhere.safetensors"), "there is no file nowhere.safetensors"),
        (("--extractor", "incepton=x"), "no KIND=FILE with a kind of inception, inception-clean, dinov2"),
        (("--data", "few"), "the validation split has 1 pictures with captions; the metrics need 12"),
        (("--data", "one"), "two different ones are needed, one of them to validate"),
        (("--data", "nowhere"), "nowhere"),
        (("--suite", "captions"), "give --data PATH"),
        (("--suite", "scenes", "--data", "few"), "leave out --data"),
        (("--prompts", "gap.txt", "--judge", "x"), "has no use for --judge"),
        (("--judge", "flow-scenes"), "which draws"),
    )


def test_what_is_wrong_is_said_in_one_line(run, home):
    for words, said in wrong(home):
        result = run("eval", *words)
        assert result.code == 2, words
        assert said in result.err
        assert result.err.count("\n") == 1
    assert not (home / "evaluations").exists()
