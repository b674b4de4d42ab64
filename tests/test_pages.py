"""Memory that is given back: of tensors that are mapped from files, and of no other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from limner.store import weights
from limner.store.pages import forget

NUMBERS = 1 << 22


def mapped_kilobytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssFile")))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_mapped_leaves_memory_and_is_read_again(tmp_path: Path) -> None:
    written = {"one": torch.randn(NUMBERS), "other": torch.randn(NUMBERS)}
    safetensors.torch.save_file(written, tmp_path / "weights.safetensors")
    tensors = weights.load(tmp_path / "weights.safetensors")
    before = mapped_kilobytes()
    forget(tensors["one"])
    freed = before - mapped_kilobytes()
    assert 0.9 * 4 * NUMBERS < 1024 * freed < 1.1 * 4 * NUMBERS
    assert torch.equal(tensors["one"], written["one"])


def test_what_is_in_memory_alone_stays() -> None:
    tensor = torch.randn(NUMBERS)
    twin = tensor.clone()
    forget(tensor)
    forget(tensor[::2])
    forget(tensor.to("meta"))
    assert torch.equal(tensor, twin)
