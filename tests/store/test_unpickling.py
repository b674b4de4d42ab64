"""What is taken out of a pickle and what is refused, in this process: files here are ours, and run nothing."""

from __future__ import annotations

import io
import os
import random
import struct
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.store import unpickling
from limner.store.unpickling import RefusedError, read, tensors_in

WEIGHTS = {"model.a.b": torch.arange(6.0).reshape(2, 3), "model.c": torch.ones(2, dtype=torch.float16)}
AVERAGES = {"model_ema.ab": torch.zeros(2, 3), "model_ema.decay": torch.tensor(0.9)}


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("touch canary",)


def saved(path: Path, value: Any, **options: Any) -> Path:
    torch.save(value, path, **options)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_come_out_of_the_container_that_a_training_puts_them_in(tmp_path: Path, zipped: bool) -> None:
    whole = {"state_dict": WEIGHTS | {"epoch": 3}, "optimizer_states": [{"m": torch.ones(9)}], "epoch": 3}
    path = saved(tmp_path / "old.ckpt", whole, _use_new_zipfile_serialization=zipped)
    tensors, dropped = tensors_in(read(path), "trained")
    assert tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(tensors[name], one) for name, one in WEIGHTS.items())
    assert dropped == {"optimizer_states": 1, "epoch": 1, "things that are no tensors": 1}


def test_running_means_are_left_out_or_taken() -> None:
    tensors, dropped = tensors_in(WEIGHTS | AVERAGES, "trained")
    assert tensors["model.a.b"].sum() == 15
    assert dropped == {"averaged weights": 2}
    tensors, dropped = tensors_in(WEIGHTS | AVERAGES, "averaged")
    assert tensors.keys() == WEIGHTS.keys()
    assert tensors["model.a.b"].sum() == 0
    assert dropped == {"weights in whose place the averaged are": 1, "averaged weights": 1}
    with pytest.raises(RefusedError, match="no averaged weights"):
        tensors_in(WEIGHTS, "averaged")


@pytest.mark.parametrize("value", [[1, 2], {}, {"a": 1}, torch.ones(2), {"state_dict": {}}])
def test_where_there_are_no_tensors_by_name_there_is_no_result(value: Any) -> None:
    with pytest.raises(RefusedError, match="no tensors by name"):
        tensors_in(value, "trained")


@pytest.mark.parametrize("odd", [torch.zeros(3).to_sparse(), torch.zeros(2, dtype=torch.complex64)])
def test_tensors_that_safetensors_has_no_word_for_are_named(odd: torch.Tensor) -> None:
    with pytest.raises(RefusedError, match="odd is a tensor of a kind"):
        tensors_in({"odd": odd}, "trained")


@pytest.mark.parametrize("zipped", [True, False])
def test_what_would_run_is_named_and_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool) -> None:
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path / "evil.ckpt", {"state_dict": WEIGHTS, "x": Runs()}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(RefusedError, match=r"asks for \w+\.system, which is no tensor"):
        read(path)
    assert not (tmp_path / "canary").exists()


def test_empty_objects_stand_for_what_trainings_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "pytorch_lightning.callbacks.model_checkpoint"
    kind = type("ModelCheckpoint", (), {"__module__": name})
    parts = name.split(".")
    for depth in range(1, 4):
        monkeypatch.setitem(sys.modules, ".".join(parts[:depth]), types.ModuleType(name))
    monkeypatch.setattr(sys.modules[name], "ModelCheckpoint", kind, raising=False)
    one = kind()
    one.best = "a"
    path = saved(tmp_path / "old.ckpt", {"state_dict": WEIGHTS, "callbacks": {kind: {"best": 1.0}, "x": one}})
    tensors, dropped = tensors_in(read(path), "trained")
    assert tensors.keys() == WEIGHTS.keys()
    assert dropped == {"callbacks": 1}


def packed(path: Path, *, claimed: int = 0) -> Path:
    """A zip of zeros: 4 MB of them, or what its directory claims."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data/0", bytes(4 << 20))
    data = bytearray(path.read_bytes())
    if claimed:
        place = data.rindex(b"PK\x01\x02")
        data[place + 24 : place + 28] = struct.pack("<I", claimed)
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFF0])
def test_a_packed_archive_is_a_bomb(tmp_path: Path, claimed: int) -> None:
    with pytest.raises(RefusedError, match="its parts are packed"):
        read(packed(tmp_path / "bomb.ckpt", claimed=claimed))


def test_torn_files_are_refused_whatever_is_wrong(tmp_path: Path) -> None:
    """200 mutations: tensors, or a line."""
    buffer, dice = io.BytesIO(), random.Random(0)
    torch.save({"state_dict": WEIGHTS}, buffer)
    path, whole = tmp_path / "torn.ckpt", buffer.getvalue()
    lines = set()
    for _ in range(200):
        torn = bytearray(whole)
        for _ in range(dice.randint(1, 3)):
            torn[dice.randrange(len(torn))] = dice.randrange(256)
        path.write_bytes(torn if dice.random() < 0.8 else torn[: dice.randrange(1, len(torn))])
        try:
            tensors_in(read(path), "trained")
        except RefusedError as error:
            lines.add(str(error))
        except (OSError, RuntimeError, ValueError) as error:  # said by `main`
            lines.add(unpickling._line(error))
    assert len(lines) > 3
    assert not any("\n" in line for line in lines)
