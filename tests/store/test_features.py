"""What is kept of frozen networks: asked once, bit for bit the same, never stale, never more than there is room for."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from limner.store.features import Answers, Features, Inputs


class Codec(nn.Module):
    """It counts the pictures and captions that it was shown, and in how many calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix, self.word = nn.Conv2d(3, 2, 3), nn.Embedding(128, 5)
        self.register_buffer("spread", torch.tensor(2.0))
        self.rows, self.calls = 0, 0

    def pictures(self, images: Tensor) -> Answers:
        self._count(images)
        return {"latents": self.mix(images) / self.spread}

    def captions(self, texts: Sequence[str]) -> Answers:
        self._count(texts)
        tokens = torch.stack([self.alone(text) for text in texts])
        return {"tokens": tokens, "pooled": tokens[:, 0].double()}

    def alone(self, text: str) -> Tensor:
        return self.word(torch.tensor([ord(letter) % 128 for letter in f"{text:4.4}"]))

    def _count(self, inputs: Inputs) -> None:
        self.rows, self.calls = self.rows + len(inputs), self.calls + 1


IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TEXTS = ["a cat", "", "a dog", "", "\ud800", "a cat"]


@pytest.fixture
def codec() -> Codec:
    return Codec()


def still(_: nn.Module) -> bool:
    return True


def asked(features: Features, codec: Codec, images: Tensor = IMAGES) -> Tensor:
    return features.of("codec", codec, images, codec.pictures)["latents"]


def test_each_is_asked_once_and_answers_come_back_bit_for_bit(codec: Codec, tmp_path: Path) -> None:
    kept, none = Features(tmp_path / "kept", still=still), Features(tmp_path / "none", still=still, room=0)
    first = asked(kept, codec)
    assert codec.rows == len(IMAGES)
    assert asked(kept, codec, IMAGES.flip(0)).equal(first.flip(0))
    assert codec.rows == len(IMAGES)
    assert asked(none, codec).equal(first)
    assert asked(none, codec).equal(first)
    assert codec.rows == 3 * len(IMAGES)
    kept.close()
    assert asked(Features(tmp_path / "kept", still=still), codec).equal(first)
    assert codec.rows == 3 * len(IMAGES)


def test_captions_are_told_apart_by_what_they_say(codec: Codec, tmp_path: Path) -> None:
    features = Features(tmp_path, still=still)
    for _ in range(2):
        found = features.of("text", codec, TEXTS, codec.captions)
        assert codec.rows == len(set(TEXTS))
        assert all(one.equal(alone) for one, alone in zip(found["tokens"], map(codec.alone, TEXTS), strict=True))
        assert found["pooled"].dtype is torch.float32
        assert not found["tokens"].requires_grad


def test_what_moves_is_asked_each_time_and_all_at_once(codec: Codec, tmp_path: Path) -> None:
    features = Features(tmp_path, still=lambda part: part is not codec)
    for calls in (1, 2):
        asked(features, codec)
        assert (codec.rows, codec.calls) == (calls * len(IMAGES), calls)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("changed", ["weight", "buffer", "replaced", "precision"])
def test_nothing_stale_is_read(codec: Codec, tmp_path: Path, changed: str) -> None:
    features = Features(tmp_path, still=still)
    asked(features, codec)
    with torch.no_grad():
        if changed == "weight":
            codec.mix.weight.mul_(2.0)
        if changed == "buffer":
            codec.spread.fill_(3.0)
        if changed == "replaced":
            codec.mix.weight = nn.Parameter(torch.randn_like(codec.mix.weight))
    with torch.autocast("cpu", torch.bfloat16, enabled=changed == "precision"):
        found = asked(features, codec)
        assert codec.rows == 2 * len(IMAGES)
        torch.testing.assert_close(found, codec.pictures(IMAGES)["latents"].float(), rtol=0.0, atol=1e-5)
    features.close()
    assert len(list(tmp_path.iterdir())) == 1


def test_there_is_an_end_to_what_is_kept(codec: Codec, tmp_path: Path) -> None:
    room = 10_000
    features = Features(tmp_path, still=still, room=room)
    many = torch.randn(100, 3, 8, 8)  # 37 kB of answers
    first = asked(features, codec, many)
    features.close()
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 3 * room
    codec.rows = 0
    assert asked(features, codec, many).equal(first)
    assert 50 < codec.rows < 100


def damage(file: Path, how: str) -> None:
    data = bytearray(file.read_bytes())
    if how == "a torn file":
        data = data[: len(data) // 2]
    if how == "another file":
        data = bytearray(b"no database at all" * 100)
    if how == "a flipped bit":
        place = data.rindex(b'"latents"') + 120  # among the numbers of an answer
        data[place] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("how", ["a torn file", "another file", "a flipped bit"])
def test_a_damaged_file_is_made_anew(codec: Codec, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    features = Features(tmp_path, still=still)
    many = torch.cat([IMAGES, torch.randn(60, 3, 8, 8)])
    first = asked(features, codec, many)
    features.close()
    (file,) = tmp_path.iterdir()
    damage(file, how)
    with caplog.at_level(logging.WARNING):
        assert asked(features, codec, many).equal(first)
    (warning,) = caplog.messages
    assert str(file) in warning
    assert "is damaged" in warning
    assert "made anew" in warning
    codec.rows = 0
    assert asked(features, codec, many).equal(first)
    assert codec.rows < len(many)
    assert len(caplog.messages) == 1


def test_where_nothing_can_be_written_it_is_said_once(
    codec: Codec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    features = Features(tmp_path / "file", still=still)
    assert asked(features, codec).equal(asked(features, codec))
    (warning,) = caplog.messages
    assert "cannot be used" in warning


def test_killed_it_keeps_what_it_had(codec: Codec, tmp_path: Path) -> None:
    features = Features(tmp_path / "kept", still=still)
    many = torch.randn(2000, 3, 8, 8)
    child = os.fork()
    if child == 0:
        for row in range(len(many)):
            asked(features, codec, many[row : row + 1])
            (tmp_path / "done").write_text(str(row))
        os._exit(0)
    while not (tmp_path / "done").exists() or not (tmp_path / "done").read_text():
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    done = 1 + int((tmp_path / "done").read_text() or 0)
    plain = Features(tmp_path / "none", still=still, room=0)
    assert asked(features, codec, many[:done]).equal(asked(plain, codec, many[:done]))
    assert codec.rows == done
