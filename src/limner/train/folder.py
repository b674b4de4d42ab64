"""A run is one directory, and one process works in it at a time."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limner.core import InputError, Tokenizer
from limner.store import atomic_write
from limner.store.files import locked
from limner.train import checkpoint
from limner.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class RunFolder:
    path: Path

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def log(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def features(self) -> Path:
        """What frozen parts said of the data: it may be deleted at any time."""
        return self.path / "features"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def model(self) -> Path:
        """The model folder to draw with."""
        return self.path / "model"

    def holds_run(self) -> bool:
        return bool(checkpoint.existing(self.checkpoints))

    def check_fresh(self) -> None:
        if self.holds_run():
            raise InputError(f"{self.path} already holds a run; go on with it by --resume, or choose another --out")

    def check_resumable(self) -> None:
        if not self.holds_run():
            raise InputError(f"{self.path} holds no run to resume; start one without --resume")

    def write_settings(self, recipe: Recipe, tokenizer: Tokenizer) -> None:
        """What a resumed run needs before it can read a checkpoint."""
        atomic_write(self.recipe, recipe.to_toml().encode())
        atomic_write(self.tokenizer, tokenizer.to_json().encode())

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Within, no other process can train in this folder. The system frees the lock of a killed one."""
        with locked(self.path, "training run"):
            self._sweep()
            yield

    def _sweep(self) -> None:
        """Delete what a killed process left unfinished."""
        checkpoint.remove_partial(self.checkpoints)
        for partial in (*self.path.glob(".*.part"), *self.samples.glob(".*.part")):
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
