"""limner draw --rerank: what is kept, what is said, what is written down; and commands that meet a CLIP."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from limner import families, shelf
from limner.families.clip import CLIP
from limner.provenance import read_parameters, read_picture_settings
from limner.shelf import find_judge
from tests.cli.test_draw import files


@pytest.fixture
def clip(home: Path, tokenizer) -> Path:
    torch.manual_seed(0)
    families.save(home.parent / "eye" / "model", CLIP(CLIP.presets["tiny"], tokenizer))
    return home.parent / "eye"


def test_the_best_are_kept_their_scores_shown_and_written_down(run, home, clip):
    result = run("draw", "red", "blue", "-n", 4, "--seed", 1, "--rerank", 2, "--judge", clip)
    assert (result.code, result.err) == (0, "")
    *lines, last = result.out.splitlines()
    assert last.startswith("8 pictures in ")
    assert len(files(home)) == 4
    for group in (lines[:3], lines[3:]):
        kept = [re.fullmatch(r"(drawings/\w+-\d\.png)  score (-?0\.\d{3})", line) for line in group[:2]]
        scores = [float(one[2]) for one in kept]
        most = float(re.fullmatch(r"  not kept: 2 with scores from -?0\.\d{3} to (-?0\.\d{3})", group[2])[1])
        assert scores[0] >= scores[1] >= most
        for one, score in zip(kept, scores, strict=True):
            settings = read_picture_settings(home / one[1])
            assert settings.score == pytest.approx(score, abs=6e-4)
            assert (settings.judge, settings.judge_hash) == ("eye", find_judge(clip).hash)
            assert f"Judge: eye, Judge hash: {settings.judge_hash[:10]}, Score: " in read_parameters(home / one[1])
            assert f"score:     {settings.score:.4f} by eye ({settings.judge_hash[:10]})" in run("info", one[1]).out
            assert run("rerun", one[1]).code == 0


def test_one_best_picture_has_the_name_that_was_given(run, home, clip):
    assert run("draw", "red", "-n", 3, "--seed", 1, "--rerank", 1, "--judge", clip, "-o", "best.png").code == 0
    assert files(home) == ["best.png"]
    assert run("draw", "red", "-n", 3, "--seed", 1, "--rerank", 2, "--judge", clip, "-o", "two.png").code == 0
    assert len(files(home)) == 3


def test_the_shipped_judge_is_used_unless_one_is_named(run, home, clip, tokenizer):
    families.save(shelf.SHIPPED / shelf.JUDGE, CLIP(CLIP.presets["tiny"], tokenizer))
    assert run("draw", "red", "-n", 2, "--rerank", 1, "-o", "a.png").code == 0
    assert read_picture_settings(home / "a.png").judge == shelf.JUDGE
    assert re.search(r"^clip-scenes .*draws no pictures, but judges them", run("models").out, flags=re.MULTILINE)
    assert "judges pictures, and draws none" in run("info", shelf.JUDGE).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rerank", "3"], "rerank = 3 is not from 1 to 2"),
        (["--rerank", "0"], "rerank = 0 is not from 1 to 2"),
        (["--judge", "CLIP"], "--judge says which pictures to keep, and --rerank how many"),
        (["--rerank", "1", "--judge", "CLIP", "--previews"], "leave one out"),
        (["--rerank", "1", "--judge", "flow-scenes"], "holds a painter, which draws"),
        (["--rerank", "1", "--judge", "absent"], 'no model "absent"'),
        (["--model", "CLIP"], "draws no pictures"),
    ],
)
def test_what_does_not_fit_is_one_line_before_anything_is_drawn(run, home, clip, words, said):
    result = run("draw", "red", "-n", 2, *[str(clip) if word == "CLIP" else word for word in words])
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert result.err.count("\n") == 1
    assert files(home) == []


def test_a_clip_is_trained_by_the_same_command_and_asked_for_no_samples(run, home):
    recipe = Path(__file__).parents[2] / "recipes/clip-scenes.toml"
    sizes = ["model.preset=tiny", "text.captions=200", "text.vocabulary=300", "train.images=32", "train.batch=16",
             "train.validation_images=16", "train.compile=off"]  # fmt: skip
    words = ["train", recipe, "--out", "run", *(part for size in sizes for part in ("--set", size))]
    result = run(*words, "--set", 'samples.prompts=["a cat"]')
    assert (result.code, result.out) == (2, "")
    assert "samples.prompts: this family draws no pictures; leave the prompts out" in result.err
    result = run(*words)
    assert result.code == 0
    assert 'let it judge: limner draw -n 16 --rerank 4 "..." --judge run/model' in result.err
    assert run("draw", "red", "-n", 2, "--rerank", 1, "--judge", "run", "-o", "a.png").code == 0
