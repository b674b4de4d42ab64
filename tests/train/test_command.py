"""`limner train` from end to end: a real family, a folder of pictures, and all that can be typed wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from limner import families
from limner.cli.main import main
from limner.train import checkpoint, machine
from tests.folders import captioned
from tests.train.runs import wait_for

RECIPE = """
[model]
family = "flow"
preset = "tiny"
config = {width = 16, depth = 1, heads = 1, hidden = 32, text = {width = 16, depth = 1, heads = 1, hidden = 32}}
[text]
vocabulary = 300
[data]
source = "scenes"
seed = 3
mix = {single = 1.0}
[train]
images = 32
batch = 4
compile = "off"
accumulate = 2
validate_every = 16
validation_images = 4
samples_every = 16
[optimizer]
warmup = 0
[samples]
prompts = ["a red circle", ""]
knobs = {steps = 1}
"""
REGRESSOR = ["--set", "model.family=regressor", "--set", "model.config={}", "--set", "samples.knobs={}"]


@pytest.fixture(autouse=True)
def _process_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own process keeps its allocator and its threads."""
    monkeypatch.setattr(machine, "prepare", lambda: None)


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    file = tmp_path / "tiny.toml"
    file.write_text(RECIPE)
    return str(file)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("own") / "pictures"
    captioned(folder, count=50)
    return str(folder)


@pytest.fixture
def command(recipe: str, pictures: str) -> list[str]:
    return ["train", recipe, "--data", pictures]


def test_train_stop_resume_and_start_from(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    command = [*command, "--out", out]
    assert main([*command, "--set", "train.images=16"]) == 0
    said = capsys.readouterr().err
    assert "16 images: validation flow" in said
    assert f'limner draw "..." --model {out}/model' in said
    assert (tmp_path / "run" / "samples" / "images-000000016.png").is_file()
    first = families.load(tmp_path / "run" / "model")

    assert main([*command, "--resume"]) == 0
    assert "From here on train.images = 32; until now it was 16" in capsys.readouterr().err
    second = families.load(tmp_path / "run" / "model")
    assert _far(first, second)

    again = [*command[:-2], "--from", out, "--out", str(tmp_path / "again")]
    assert main([*again, "--set", "train.images=8", "--set", "optimizer.warmup=1000000"]) == 0
    third = families.load(tmp_path / "again" / "model")
    assert not _far(second, third)
    assert third.tokenizer.to_json() == second.tokenizer.to_json()
    assert torch.equal(second.codec.mean, third.codec.mean)  # it was not calibrated anew


def test_what_keeps_the_weights_shapes_may_be_changed_later(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """When a run is resumed and when another starts from its model; anything else is refused."""
    out, again = str(tmp_path / "run"), str(tmp_path / "again")
    assert main([*command, "--out", out, "--set", "train.images=8"]) == 0
    assert main([*command, "--out", out, "--resume", "--set", "model.config.time_mean=3.5"]) == 0
    assert "From here on model.config.time_mean = 3.5" in capsys.readouterr().err
    assert families.load(tmp_path / "run" / "model").config.time_mean == 3.5
    assert main([*command, "--out", again, "--from", out, "--set", "model.config.time_spread=0.5"]) == 0
    config = families.load(tmp_path / "again" / "model").config
    assert (config.time_mean, config.time_spread) == (3.5, 0.5)
    capsys.readouterr()
    for start in (["--out", out, "--resume"], ["--out", str(tmp_path / "third"), "--from", out]):
        assert main([*command, *start, "--set", "model.config.hidden=16", "--set", "train.images=64"]) == 2
        assert '"denoiser.blocks.0.into.weight" is' in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "third").exists()


def _far(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs) > 1e-4


def test_a_trained_model_is_not_written_to(command: list[str], tmp_path: Path) -> None:
    """Its weights are mapped from the file; training is not to change the file."""
    assert main([*command, "--out", str(tmp_path / "run"), "--set", "train.images=8"]) == 0
    files = {path: path.read_bytes() for path in (tmp_path / "run" / "model").iterdir()}
    assert main([*command, "--from", str(tmp_path / "run"), "--out", str(tmp_path / "two")]) == 0
    assert all(path.read_bytes() == data for path, data in files.items())


def test_dry_run_prints_all_of_it_and_does_nothing(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["train", recipe, "--out", str(out), "--dry-run", "--data", "elsewhere", "--set", "train.batch=7"]) == 0
    printed = tomllib.loads(capsys.readouterr().out)
    assert printed["train"]["batch"] == 7
    assert printed["data"] == {"source": "elsewhere", "seed": 3}
    assert printed["model"]["config"]["image_size"] == 32
    assert printed["model"]["config"]["text"]["width"] == 16
    assert printed["samples"]["knobs"]["guidance"] == 3.0
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "train.bach=7"], 'train: unknown key "bach" (did you mean "batch"?)'),
        (["--set", "model.family=flaw"], 'unknown family "flaw" (did you mean "flow"?)'),
        (["--set", "model.preset=huge"], 'preset = "huge" is not one of base, tiny'),
        (["--set", "model.config.widht=1"], 'model.config: unknown key "widht" (did you mean "width"?)'),
        (["--set", "samples.knobs.step=1"], 'samples.knobs: unknown key "step" (did you mean "steps"?)'),
        (["--data", "nowhere"], "nowhere"),
        (["--from", "nowhere"], 'there is no model "nowhere"'),
        (["--resume"], "holds no run to resume"),
    ],
)
def test_one_line_for_each_mistake(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    out = tmp_path / "run"
    assert main(["train", recipe, "--out", str(out), *words]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]
    assert said[-1].startswith("limner: ")
    assert not out.exists()


def test_a_second_run_in_one_folder(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*command, "--out", str(tmp_path / "run"), "--set", "train.images=8"]
    assert main(command) == 0
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*"))
    assert main(command) == 2
    assert "already holds a run; go on with it by --resume" in capsys.readouterr().err
    assert main([*command, "--resume", *REGRESSOR]) == 2
    assert 'holds a run of family "flow", not "regressor"' in capsys.readouterr().err
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "run").rglob("*")) == before


def test_a_model_of_another_family(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--out", str(tmp_path / "run"), "--set", "train.images=8"]) == 0
    assert main([*command, "--from", str(tmp_path / "run"), "--out", str(tmp_path / "two"), *REGRESSOR]) == 2
    assert "is a Flow, but the recipe trains" in capsys.readouterr().err


def test_the_real_process_stops_well_when_asked(command: list[str], tmp_path: Path) -> None:
    """With the allocator and the threads set, as a user has it."""
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "limner", *command, "--out", str(out),
         "--set", "train.images=1000000", "--set", "train.validate_every=1000000"],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    try:
        wait_for((out / "log.jsonl").exists, "no iteration within five minutes")
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=300)[1]
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert f"--resume --out {out}" in said
    assert "Traceback" not in said
    assert checkpoint.newest(out / "checkpoints")[1].state["images"] > 0
