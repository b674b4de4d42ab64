"""A model folder is whole or an InputError, and no file is opened for what its name says."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import random
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner import store
from limner.core import InputError
from limner.store import files, folder, weights

TENSORS = {
    "first": torch.arange(12.0).reshape(3, 4),
    "half": torch.tensor([1.5, -2.0], dtype=torch.float16),
    "brain": torch.tensor([[0.25]], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "none": torch.empty(0, 5),
}
CONFIG = {"width": 4, "name": "Äpfel", "nested": {"rates": [0.5, 1.0]}}
RUNS_CODE = b"cos\nsystem\n(S'touch canary'\ntR."


def write(path: Path, **changes: object) -> Path:
    parts = {"family": "flow", "config": CONFIG, "tokenizer": '{"a": 1}', "tensors": TENSORS, "card": "# Card"}
    store.write(path, **{**parts, **changes})  # type: ignore[arg-type]
    return path


def packed(header: object, data: bytes = b"", *, raw: bytes | None = None) -> bytes:
    text = json.dumps(header).encode() if raw is None else raw
    return struct.pack("<Q", len(text)) + text + data


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def refused(path: Path, *words: str) -> str:
    with pytest.raises(InputError) as caught:
        store.read(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


# ---------------------------------------------------------------------------------------------------
# Whole models.


@pytest.mark.parametrize("shard_bytes", [None, 40])
def test_what_is_written_is_read(tmp_path, shard_bytes):
    stored = store.read(write(tmp_path / "deep" / "model", shard_bytes=shard_bytes))
    assert (stored.family, stored.config, stored.tokenizer) == ("flow", CONFIG, '{"a": 1}')
    assert stored.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert stored.tensors[name].dtype == tensor.dtype
        assert torch.equal(stored.tensors[name], tensor)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]


def test_shards_are_small_and_the_index_says_where_each_tensor_is(tmp_path):
    tensors = {f"t{number}": torch.full((10,), float(number)) for number in range(7)}
    about = store.describe(write(tmp_path / "model", tensors=tensors, shard_bytes=80))
    assert about.weights == [f"model-{number:05d}-of-00004.safetensors" for number in (1, 2, 3, 4)]
    index = json.loads((about.folder / folder.INDEX).read_text())
    assert index["metadata"]["total_size"] == 280
    for name, file in index["weight_map"].items():
        found = weights.load(about.folder / file)
        assert torch.equal(found[name], tensors[name])
        assert sum(one.nbytes for one in found.values()) <= 80


def test_the_hash_is_of_the_weights_alone(tmp_path):
    one = store.describe(write(tmp_path / "one"))
    assert one.hash == hashlib.sha256((tmp_path / "one/model.safetensors").read_bytes()).hexdigest()
    assert store.describe(write(tmp_path / "two", config={})).hash == one.hash
    assert store.describe(write(tmp_path / "three", tensors={"first": torch.ones(3)})).hash != one.hash
    sharded = store.describe(write(tmp_path / "four", shard_bytes=40))
    sums = [hashlib.sha256((tmp_path / "four" / name).read_bytes()).hexdigest() for name in sharded.weights]
    assert sharded.hash == hashlib.sha256("\n".join(sums).encode()).hexdigest()
    assert sharded.hash == store.read(tmp_path / "four").hash


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux shows what is mapped")
def test_weights_are_mapped_and_not_copied(tmp_path):
    stored = store.read(write(tmp_path / "model", tensors={"large": torch.ones(100_000)}))
    assert str(tmp_path / "model/model.safetensors") in Path("/proc/self/maps").read_text()
    stored.tensors["large"].zero_()  # the map is private: the file stays as it is
    assert store.read(tmp_path / "model").tensors["large"].min() == 1


def test_the_card_may_be_edited_and_nothing_else(tmp_path):
    path = write(tmp_path / "model")
    (path / "card.md").write_text("# Better words")
    assert store.read(path) is not None
    assert store.describe(path).card == "# Better words"
    (path / "tokenizer.json").write_text("{}")
    refused(path, "tokenizer.json", "SHA-256")


def test_every_flipped_bit_is_found(tmp_path):
    path, dice = write(tmp_path / "model", shard_bytes=40), random.Random(0)
    parts = [part for part in sorted(path.iterdir()) if part.name != "card.md"]
    assert len(parts) >= 5
    for part in parts:
        whole = part.read_bytes()
        for _ in range(40):
            torn = bytearray(whole)
            torn[dice.randrange(len(torn))] ^= 1 << dice.randrange(8)
            part.write_bytes(torn)
            refused(path, str(path))
        part.write_bytes(whole)
    store.read(path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "manifest.json", "model.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    (write(tmp_path / "model") / name).unlink()
    assert refused(tmp_path / "model", name)


def test_what_is_no_model_folder_is_told_apart(tmp_path):
    assert refused(tmp_path / "absent", "absent", "does not exist")
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty", "no config.json")
    assert refused(write(tmp_path / "model") / "model.safetensors", "name the model's folder")


def test_a_part_of_another_programs_model_is_called_so(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    with pytest.raises(InputError, match=r"names no family; .* name the folder of the whole"):
        store.read(tmp_path)


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    for number, dtype in ((float("nan"), torch.float32), (float("inf"), torch.float16), (-np.inf, torch.bfloat16)):
        bad = torch.ones(5, dtype=dtype)
        bad[3] = number
        assert refused(write(tmp_path / "model", tensors={"good": torch.ones(2), "bad": bad}), "bad", "not finite")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "newer Limner"),
        ({"files": {"../../secret.safetensors": "0", "config.json": "0", "tokenizer.json": "0"}}, "SHA-256"),
        ({"files": {"config.json": "0", "tokenizer.json": "0"}}, "lacks a file"),
        ({"files": []}, "SHA-256"),
    ],
)
def test_a_forged_manifest_leads_nowhere(tmp_path, changes, words):
    path = write(tmp_path / "model") / "manifest.json"
    body = {key: value for key, value in json.loads(path.read_bytes()).items() if key != "sha256"} | changes
    own = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    path.write_text(json.dumps({**body, "sha256": own}))
    assert refused(tmp_path / "model", words)


def test_a_tensor_in_two_shards_is_refused(tmp_path):
    path = write(tmp_path / "model", tensors={"a": torch.ones(9), "b": torch.ones(9)}, shard_bytes=36)
    first, second = (path / name for name in store.describe(path).weights)
    shutil.copy(first, second)
    assert refused(path, second.name, "another shard")


# ---------------------------------------------------------------------------------------------------
# Writing.


def contents(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in path.iterdir()}


@pytest.mark.parametrize("at_once", [True, False])
def test_a_model_takes_the_place_of_another(tmp_path, monkeypatch, at_once):
    if not at_once:
        monkeypatch.setattr(files, "_exchange_at_once", lambda one, other: False)
    write(tmp_path / "model", shard_bytes=40)
    write(tmp_path / "model", tensors={"only": torch.zeros(2)}, card="")
    assert list(store.read(tmp_path / "model").tensors) == ["only"]
    assert sorted(contents(tmp_path / "model")) == sorted(
        ["config.json", "manifest.json", "model.safetensors", "tokenizer.json"]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_a_full_disk_leaves_the_old_model_whole(tmp_path, monkeypatch, fails_at):
    before = contents(write(tmp_path / "model"))
    calls = 0

    def write_synced(path: Path, data: bytes) -> None:
        nonlocal calls
        calls += 1
        path.write_bytes(data[: len(data) // 2])
        if calls == fails_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folder, "write_synced", write_synced)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "model", config={"new": True})
    assert contents(tmp_path / "model") == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_with_other_things_in_it_is_not_replaced(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/cat.png").write_bytes(b"miaow")
    with pytest.raises(InputError, match=r"cat\.png"):
        write(tmp_path / "pictures")
    with pytest.raises(InputError, match="is a file"):
        write(tmp_path / "pictures/cat.png")
    assert (tmp_path / "pictures/cat.png").read_bytes() == b"miaow"


def test_a_file_is_replaced_whole_or_stays(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    store.atomic_write(path, b"old")
    store.atomic_write(path, b"new")
    assert path.read_bytes() == b"new"

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.atomic_write(path, b"newest")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------------------------------------------
# What a file of weights may be.


def test_a_pickle_is_refused_by_its_content_and_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "model")
    torch.save({"weight": torch.ones(2)}, tmp_path / "zip.pt")
    old_torch = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    foreign = {
        b"\x80\x04" + RUNS_CODE: "pickle",
        RUNS_CODE: "not a safetensors file",
        old_torch: "pickle",
        (tmp_path / "zip.pt").read_bytes(): "zip archive",
        b"\x93NUMPY\x01\x00v\x00{}": "NumPy",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0": "git lfs pull",
        b"": "empty",
        b"\0" * 100: "not a safetensors file",
    }
    for content, word in foreign.items():
        for name in ("model.safetensors", "evil.SafeTensors"):
            (path / name).write_bytes(content)
            message = refused(path / name, str(path / name), word)
            assert "safetensors" in message or word in ("empty", "git lfs pull")
        refused(path, "model.safetensors", word)
        (path / "evil.SafeTensors").unlink()
    assert not (tmp_path / "canary").exists()


BROKEN = {
    "hole": packed({"a": entry([1], 0, 4), "b": entry([1], 8, 12)}, bytes(12)),
    "overlap": packed({"a": entry([2], 0, 8), "b": entry([1], 4, 8)}, bytes(8)),
    "late start": packed({"a": entry([1], 4, 8)}, bytes(8)),
    "tail": packed({"a": entry([1], 0, 4)}, bytes(5)),
    "short": packed({"a": entry([2], 0, 8)}, bytes(7)),
    "shape": packed({"a": entry([3], 0, 4)}, bytes(4)),
    "negative": packed({"a": entry([-1, -1], 0, 4)}, bytes(4)),
    "huge": packed({"a": entry([2**40, 2**40], 0, 4)}, bytes(4)),
    "fraction": packed({"a": entry([1.0], 0, 4)}, bytes(4)),  # type: ignore[list-item]
    "backwards": packed({"a": entry([1], 4, 0)}, bytes(4)),
    "dtype": packed({"a": entry([1], 0, 4, dtype="F31")}, bytes(4)),
    "extra": packed({"a": {**entry([1], 0, 4), "code": "x"}}, bytes(4)),
    "lacking": packed({"a": {"dtype": "F32", "shape": [1]}}, bytes(4)),
    "list": packed({"a": [1, 2]}, bytes(4)),
    "metadata": packed({"__metadata__": {"a": 1}}),
    "twice": packed(None, bytes(4), raw=b'{"a":%b,"a":%b}' % ((json.dumps(entry([1], 0, 4)).encode(),) * 2)),
    "deep": packed(None, raw=b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"),
    "digits": packed(None, bytes(4), raw=b'{"a":' + b"9" * 5000 + b"}"),
    "unclosed": packed(None, raw=b'{"a":'),
    "no text": packed(None, raw=b"{\xff\xfe}"),
    "no object": packed([]),
    "header too long": struct.pack("<Q", 100_000_001) + b"{}" + bytes(50),
    "header beyond the end": struct.pack("<Q", 60) + b"{}",
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_of_the_format_is_kept(tmp_path, name):
    path = tmp_path / "model.safetensors"
    path.write_bytes(BROKEN[name])
    with pytest.raises(InputError, match=r"model\.safetensors"):
        weights.check(path)  # our own rules, before the library has its say


def test_a_truncated_file_is_called_so(tmp_path):
    path, whole = tmp_path / "model.safetensors", weights.dump(TENSORS)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="is truncated" if length > 8 else "empty|not a safetensors"):
            weights.load(path)
    path.write_bytes(whole)
    assert weights.load(path).keys() == TENSORS.keys()


WHOLE = weights.dump(TENSORS)
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["put", "cut", "add"]), st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=9)
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(edits=EDITS)
def test_whatever_is_done_to_a_file_only_input_errors_come_out(tmp_path_factory, edits):
    data = bytearray(WHOLE)
    for kind, place, piece in edits:
        if kind == "put":
            data[place : place + len(piece)] = piece
        elif kind == "cut":
            del data[place : place + len(piece)]
        else:
            data[place:place] = piece
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        assert sum(one.nbytes for one in weights.load(path).values()) < len(data)
