"""Commands run in this process: `run(...)` is the exit code, what went to the terminal, and what as an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from limner import families, shelf
from limner.cli.main import main
from tests.examinations import two_tasks
from tests.painter import Painter, painter
from tests.toys.mural import Mural, mural

__all__ = ["mural", "painter", "two_tasks"]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: object) -> Result:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, painter: Painter) -> Path:
    """A working directory, with a painter as the shipped model."""
    monkeypatch.setattr(shelf, "SHIPPED", tmp_path / "shipped")
    families.save(tmp_path / "shipped" / shelf.DEFAULT, painter, card="# A painter of noise")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def wall(home: Path, mural: Mural) -> Path:
    """The working directory, with a mural in the folder wall: it draws any size, and over images."""
    families.save(home / "wall", mural)
    return home
