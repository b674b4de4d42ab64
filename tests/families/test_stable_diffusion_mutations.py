"""Five hundred models torn at random: out comes a model or one line, and it takes no more memory than it may."""

from __future__ import annotations

import gc
import json
import random
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limner.core import InputError
from limner.families.stable_diffusion_layouts import read, write_diffusers, write_single
from tests.toys.stable_diffusion import TINY, toy

MUTATIONS = 500
SPARE = 64 << 20
STRANGE: list[Any] = [
    None, True, False, -1, 0, 1, 3, 2**31, 2**63, 10**400, 1e308, float("nan"), 0.5, "", "x" * 1000, "../x",
    "/dev/zero", "\0", [], {}, [1, 2], {"a": 1}, [0], [-1, 2], ["x"], [[1]], "F64", "epsilon",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole")
    model = toy(TINY)
    write_single(path / "model.safetensors", model)
    write_diffusers(path / "folder", model)
    return path


@pytest.fixture
def bounded() -> Iterator[None]:
    """At no moment within is there more memory than before, a file's size and 64 MB."""
    counters = Path("/proc/self/clear_refs")
    if not counters.exists():
        pytest.skip("only Linux tells how much memory was used at most")
    gc.collect()
    counters.write_text("5")  # from here on the most is counted anew
    before = _kilobytes("VmRSS")
    yield
    assert (_kilobytes("VmHWM") - before) * 1024 < SPARE + (1 << 20)


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def outcome(path: Path) -> str:
    """What a mutated model is called, or "whole"."""
    try:
        read(path).built()
    except InputError as error:
        message = str(error)
        assert "\n" not in message
        assert len(message) < 3000
        return message
    return "whole"


def bytes_changed(data: bytes, dice: random.Random, *, until: int) -> bytes:
    """A few bytes before `until` put otherwise, taken out or added; or the end cut off."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        place, piece = dice.randrange(until), dice.randbytes(dice.randint(1, 9))
        kind = dice.choice(["put", "put", "take", "add", "cut"])
        if kind == "put":
            changed[place : place + len(piece)] = piece
        elif kind == "take":
            del changed[place : place + len(piece)]
        elif kind == "add":
            changed[place:place] = piece
        else:
            del changed[dice.randrange(len(changed)) :]
    return bytes(changed)


def value_changed(value: Any, dice: random.Random) -> Any:
    """One value somewhere within is another, is gone, or is deeper than anybody reads."""
    if not isinstance(value, dict | list) or not value or dice.random() < 0.15:
        if dice.random() < 0.05:
            return json.loads("[" * 300 + "]" * 300)
        return dice.choice(STRANGE)
    changed = value.copy()
    key = dice.choice(sorted(changed)) if isinstance(changed, dict) else dice.randrange(len(changed))
    if dice.random() < 0.1:
        del changed[key]
    else:
        changed[key] = value_changed(changed[key], dice)
    return changed


def header_changed(data: bytes, dice: random.Random) -> bytes:
    """Of safetensors: the header says something else, in as many bytes as it takes."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    if dice.random() < 0.3 and "limner.config" in header["__metadata__"]:
        config = value_changed(json.loads(header["__metadata__"]["limner.config"]), dice)
        header["__metadata__"]["limner.config"] = json.dumps(config)
    else:
        header = value_changed(header, dice)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def mutated(data: bytes, dice: random.Random) -> bytes:
    if data[8:9] == b"{":
        end = 8 + struct.unpack("<Q", data[:8])[0]
        how = dice.random()
        if how < 0.5:
            return header_changed(data, dice)
        return bytes_changed(data, dice, until=end if how < 0.9 else len(data))
    if dice.random() < 0.6 and data[:1] == b"{":
        return json.dumps(value_changed(json.loads(data), dice)).encode()
    return bytes_changed(data, dice, until=len(data))


def test_single_files(whole: Path, tmp_path: Path, bounded: None) -> None:
    data, dice = (whole / "model.safetensors").read_bytes(), random.Random(0)
    shutil.copy(whole / "model.tokenizer.json", tmp_path)
    found = []
    for _ in range(MUTATIONS // 2):
        (tmp_path / "model.safetensors").write_bytes(mutated(data, dice))
        found.append(outcome(tmp_path / "model.safetensors"))
    assert 0 < found.count("whole") < len(found) / 2
    assert len(set(found)) > 60


def test_folders(whole: Path, tmp_path: Path, bounded: None) -> None:
    shutil.copytree(whole / "folder", tmp_path / "folder")
    files, dice = sorted(path for path in (tmp_path / "folder").rglob("*") if path.is_file()), random.Random(1)
    found = []
    for _ in range(MUTATIONS // 2):
        path = dice.choice(files)
        data = path.read_bytes()
        path.write_bytes(mutated(data, dice))
        found.append(outcome(tmp_path / "folder"))
        path.write_bytes(data)
    assert 0 < found.count("whole") < len(found) / 2
    assert len(set(found)) > 60
    assert outcome(tmp_path / "folder") == "whole"
