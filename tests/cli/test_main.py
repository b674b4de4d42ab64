"""The way in: what a person sees of mistakes, and what a command costs before it begins."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import limner
from limner import families
from limner.cli import drawing

RECIPE = """
[model]
family = "flow"
preset = "tiny"
[train]
images = 100
"""


def test_help_and_version(run):
    for words in (
        ["--help"],
        ["draw", "--help"],
        ["train", "--help"],
        ["arena", "--help"],
        ["data", "--help"],
        ["rerun", "--help"],
    ):
        result = run(*words)
        assert result.code == 0
        assert "Usage" in result.out
    assert run("--version").out == f"limner {limner.__version__}\n"


def test_usage_errors_are_one_line(run):
    for words, said in ((["drwa"], "drwa"), (["rerun"], "Missing argument"), (["models", "extra"], "extra")):
        result = run(*words)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("limner: ")
        assert result.err.count("\n") == 1
        assert said in result.err


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (limner.InputError("two\nlines"), 2, "limner: two lines\n"),
        (FileNotFoundError(2, "No such file or directory", "a.txt"), 1, "limner: a.txt: No such file or directory\n"),
        (PermissionError(13, "Permission denied", "b"), 1, "limner: b: Permission denied\n"),
        (OSError("odd"), 1, "limner: odd\n"),
    ],
)
def test_faults_have_their_exit_codes(run, monkeypatch, fault, code, said):
    def fail(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(drawing, "carry_out", fail)
    result = run("draw", "x")
    assert (result.code, result.err) == (code, said)


def test_a_bug_is_not_hidden(run, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ValueError("ours")

    monkeypatch.setattr(drawing, "carry_out", fail)
    with pytest.raises(ValueError, match="ours"):
        run("draw", "x")


@pytest.mark.parametrize(
    ("recipe", "words", "said"),
    [
        (None, [], ["recipe.toml"]),
        (RECIPE + "imagse = 3\n", [], ["recipe.toml", "train", '"imagse" (did you mean "images"?)']),
        (RECIPE + "images = \n", [], ["recipe.toml"]),
        (RECIPE, ["--data", "empty"], ["empty"]),
        (RECIPE, ["--data", "absent"], ["absent"]),
        (RECIPE, ["--from", "absent"], ["absent"]),
        (RECIPE, ["--set", "train.batch=-1"], ["batch"]),
    ],
)
def test_what_is_wrong_with_a_training_is_one_line(run, tmp_path, monkeypatch, recipe, words, said):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    if recipe is not None:
        Path("recipe.toml").write_text(recipe)
    result = run("train", "recipe.toml", "--out", "out", *words)
    assert result.code in (1, 2)
    for word in said:
        assert word in result.err
    assert result.err.splitlines()[-1].startswith("limner: ")
    assert "Traceback" not in result.err
    assert not list(tmp_path.rglob("*.safetensors"))


def test_an_empty_folder_of_data_is_one_line(run, tmp_path):
    for command in ("check", "preview"):
        result = run("data", command, tmp_path, *(["-o", tmp_path / "sheet.png"] if command == "preview" else []))
        assert (result.code, result.out) == (2, "")
        assert str(tmp_path) in result.err
        assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------------------------
# Real processes.

COUNT = """
import sys
from limner.cli.main import main
code = main(sys.argv[1:])
heavy = ["torch._dynamo", "torch._inductor", "torchvision", "huggingface_hub", "tensorboard", "pyarrow", "rich",
         "limner.train", "limner.data", "limner.evaluate"]
print([name for name in heavy if name in sys.modules], code)
"""


def started(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    places = [str(Path(limner.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory, tokenizer: object) -> Path:
    """An untrained model of the real family, because a process of its own knows no toys."""
    path = tmp_path_factory.mktemp("flow") / "model"
    kind = families.find("flow")
    families.save(path, kind(kind.presets["tiny"], tokenizer))  # type: ignore[arg-type]
    return path


def test_drawing_imports_no_compiler_and_no_library_of_others_work(flow, tmp_path):
    words = ("draw", "a red square", "--model", flow, "--steps", 2, "--seed", 1, "-o", "a.png")
    result = started("-c", COUNT, *words, folder=tmp_path)
    assert result.stdout.splitlines()[-1] == "[] 0", result.stdout + result.stderr
    assert result.stderr == ""
    assert (tmp_path / "a.png").exists()


def test_a_real_process_fails_in_one_line(flow, tmp_path):
    weights = flow / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    result = started("-m", "limner", "draw", "x", "--model", flow, folder=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"limner: {weights} is truncated: it has 1,000 bytes of ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_asking_for_help_does_not_import_torch(tmp_path):
    code = "import sys; from limner.cli.main import main; main(['--help']); print('torch' in sys.modules)"
    assert started("-c", code, folder=tmp_path).stdout.splitlines()[-1] == "False"
