"""The README's commands and every recipe are run as they stand, but for sizes: small presets, a few images."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from limner.cli.main import main
from limner.train.recipe import Recipe
from tests.folders import captioned

ROOT = Path(__file__).parents[1]
SMALL = [
    "train.images=64", "train.batch=16", "train.validation_images=16", "train.samples_every=64", "text.captions=500",
    "text.vocabulary=600", "train.compile=off",
]  # fmt: skip


SHORT = {
    "score": ["--prompts", "2"],
    "eval": ["--n", "6"],
    "compare": ["--n", "4", "--budget", "32img"]
    + [part for size in (*SMALL, "model.preset=tiny") for part in ("--set", size)],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)


def small(command: list[str]) -> list[str]:
    if command[0] == "train":
        sizes = SMALL if "--from" in command else [*SMALL, "model.preset=tiny"]
        return command + [part for size in sizes for part in ("--set", size)]
    return command + SHORT.get(command[0], [])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recipes and somebody's pictures, to stand in."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    captioned(tmp_path / "my-pictures", count=300)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_readme(desk: Path) -> None:
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) >= 12
    for program, *command in commands:
        assert program == "limner"
        code = main(small(command))
        findings = command[:2] == ["data", "check"]  # the folder has a broken file, and the command says so
        assert code == (1 if findings else 0), f"limner {' '.join(command)} ended with {code}"


def test_the_python_of_the_readme(desk: Path) -> None:
    (program,) = blocks("python")
    exec(compile(program, "README.md", "exec"), {})
    assert (desk / "apple.png").stat().st_size > 1000


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_whole_and_trains(path: Path, desk: Path) -> None:
    assert Recipe.read(path).model.family == path.stem.partition("-")[0]
    command = ["train", f"recipes/{path.name}", "--out", f"runs/{path.stem}"]
    assert main(small(command)) == 0
    assert (desk / "runs" / path.stem / "model" / "config.json").exists()
