"""limner convert, as it is typed."""

from __future__ import annotations

import torch

from limner.cli import converting
from limner.store.conversion import Conversion

DONE = Conversion(
    tensors=1200, dtypes={"float16": 1198, "int64": 2}, dropped={"averaged weights": 686, "epoch": 1},
    limits=["no network", "64 files"], size=2_132_000_000, hash="0123",
)  # fmt: skip


def test_it_says_what_it_did(run, monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(converting, "convert", lambda *paths, kept: asked.append((*paths, kept)) or DONE)
    result = run("convert", tmp_path / "old.ckpt", tmp_path / "new.safetensors", "--weights", "averaged")
    assert result.code == 0
    assert asked == [(tmp_path / "old.ckpt", tmp_path / "new.safetensors", "averaged")]
    assert result.out.splitlines() == [
        f"{tmp_path / 'new.safetensors'}: 1,200 tensors (1,198 float16, 2 int64), 2,132.0 MB",
        "SHA-256 0123",
        "left out: 686 averaged weights, 1 epoch",
        "read by a process of its own with no network, 64 files",
        "this system did not let it be without the rest: no connections and no programs",
    ]


def test_a_pickle_becomes_safetensors(run, tmp_path):
    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "old.ckpt")
    result = run("convert", tmp_path / "old.ckpt", tmp_path / "new.safetensors")
    assert result.code == 0
    assert "1 tensors (1 float32)" in result.out
    assert (tmp_path / "new.safetensors").exists()


def test_what_is_wrong_is_one_line(run, tmp_path):
    result = run("convert", tmp_path / "old.ckpt", tmp_path / "new.safetensors")
    assert result.code == 2
    assert result.err == f"limner: {tmp_path / 'old.ckpt'} does not exist; name a .ckpt, .pt, .pth or .bin\n"
