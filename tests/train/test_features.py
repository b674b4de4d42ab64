"""What frozen parts say of a finite source is computed once in a run, and changes nothing in it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from limner.core import Batch, Step
from limner.store.features import Features, Shelf
from tests.train.runs import differences, last, train
from tests.train.toys import Noise, Plain, recipe

PICTURES = 12
STAGES = {"codec": (0.0, 0.2), "plain": (0.2, 1.0)}  # 16 of 80 images, and the rest: five epochs and a bit


class Few(Noise):
    """So many pictures, in turn."""

    def __len__(self) -> int:
        return PICTURES

    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(index % PICTURES)


class Coded(Plain):
    """A codec, and a network that learns of what it says. It counts the pictures that the codec was shown."""

    def __init__(self, config: Any = None, tokenizer: Any = None) -> None:
        super().__init__(config, tokenizer)
        self.codec = nn.Linear(3, 3)
        nn.init.eye_(self.codec.weight)
        nn.init.zeros_(self.codec.bias)
        self.features: Features | None = None
        self.coded = 0

    def keep_features(self, features: Features | None) -> None:
        self.features = features

    def steps(self) -> list[Step]:
        codec = set(self.codec.parameters())
        others = [one for one in self.parameters() if one not in codec]
        return [Step("codec", list(codec), self.shrink), Step("plain", others, self.loss)]

    def shrink(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        return {"loss": self.code(batch.images)["latents"].square().mean()}

    def code(self, images: Tensor) -> dict[str, Tensor]:
        self.coded += len(images)
        return {"latents": self.codec(images.mean(dim=(2, 3)))}

    def loss(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        if self.features is None:
            found = self.code(batch.images)
        else:
            found = self.features.of("codec", self.codec, batch.images, self.code)
        latents = found["latents"].detach()[..., None, None]
        return super().loss(Batch(latents, batch.captions), generator)


def learnt(folder: Path, *, source: Noise | None = None, stages: Any = STAGES, **options: Any) -> Coded:
    family = Coded()
    settings = recipe(stages=stages, validate_every=10**6, samples_every=10**6)
    train(folder, settings, family=family, source=source or Few(), validation=Few(), **options)
    return family


def test_each_picture_is_coded_once_and_the_run_is_the_same(tmp_path: Path) -> None:
    """The first two iterations train the codec on 8 pictures each; at the end 6 are validated."""
    kept, lost = tmp_path / "kept", tmp_path / "lost"
    assert learnt(kept).coded == 16 + PICTURES + 2 * 6
    learnt(lost, until=5)
    shutil.rmtree(lost / "features")
    learnt(lost, resume=True)
    assert differences(last(kept), last(lost)) == []


def test_a_resumed_run_finds_what_was_kept(tmp_path: Path) -> None:
    assert learnt(tmp_path, until=5).coded == 16 + PICTURES
    assert learnt(tmp_path, resume=True).coded == 2 * 6


@pytest.mark.parametrize("why", ["endless pictures", "a codec that moves"])
def test_nothing_is_kept_of(tmp_path: Path, why: str) -> None:
    endless = why == "endless pictures"
    learnt(tmp_path, source=Noise() if endless else Few(), stages=STAGES if endless else {})
    assert not list(tmp_path.glob("features/*"))


def test_it_is_the_run_of_which_nothing_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt(tmp_path / "kept")
    monkeypatch.setattr(Shelf, "write", lambda shelf, answers: None)
    assert learnt(tmp_path / "not").coded == 16 + 64 + 2 * 6
    assert differences(last(tmp_path / "kept"), last(tmp_path / "not")) == []


def test_after_the_run_the_family_computes_again(tmp_path: Path) -> None:
    family = learnt(tmp_path).train()
    before = family.coded
    family.loss(Batch(torch.randn(4, 3, 4, 4), ["a"] * 4), Generator())
    assert family.coded == before + 4
