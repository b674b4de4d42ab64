"""What the disk may do to a checkpoint, and that the run survives it."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from limner.core import InputError
from limner.store import files
from limner.train import checkpoint
from limner.train.checkpoint import Contents
from tests.train.runs import differences, last, train
from tests.train.toys import recipe

FILES = ["model.safetensors", "ema.safetensors", "optimizer.safetensors", "random.safetensors", "state.json",
         "manifest.json"]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A stopped run with checkpoints at 0, 8 and 16 images."""
    train(tmp_path / "run", recipe(checkpoint_every=0.0, keep=3), until=2)
    return tmp_path / "run"


def newest_folder(run: Path) -> Path:
    return checkpoint.existing(run / "checkpoints")[-1]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("harm", [truncate, flip, Path.unlink])
def test_a_harmed_checkpoint_is_passed_over_by_name(
    run: Path, name: str, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    good = checkpoint.read(run / "checkpoints" / "images-000000008")
    victim = newest_folder(run) / name
    harm(victim)
    path, contents = checkpoint.newest(run / "checkpoints")
    assert path.name == "images-000000008"
    assert differences(contents, good) == []
    assert str(victim) in caplog.text
    assert [one.name for one in checkpoint.existing(run / "checkpoints")] == ["images-000000000", "images-000000008"]
    assert (run / "checkpoints" / "damaged-images-000000016").is_dir()


def test_every_bit_of_a_checkpoint_counts(tmp_path: Path) -> None:
    contents = Contents({"model": {"w": torch.arange(3.0)}}, {"images": 1})
    whole = checkpoint.write(tmp_path, contents, images=1)
    for path in sorted(whole.iterdir()):
        data = path.read_bytes()
        for place in range(len(data) * 8):
            if path.name == "manifest.json" and place % 7:
                continue  # every seventh bit of the manifest
            changed = bytearray(data)
            changed[place // 8] ^= 1 << place % 8
            path.write_bytes(changed)
            with pytest.raises(checkpoint.DamagedError, match=path.name):
                _read_exactly(whole, contents)
        path.write_bytes(data)
    assert differences(checkpoint.read(whole), contents) == []


def _read_exactly(folder: Path, contents: Contents) -> None:
    """A flipped bit may turn a manifest's blank into another blank: then nothing is lost and nothing is to be found."""
    found = checkpoint.read(folder)
    if differences(found, contents) == []:
        raise checkpoint.DamagedError("manifest.json means the same")


def test_the_run_goes_on_from_the_one_before(run: Path, tmp_path: Path) -> None:
    flip(newest_folder(run) / "model.safetensors")
    train(run, recipe(), resume=True)
    train(tmp_path / "whole", recipe())
    assert differences(last(run), last(tmp_path / "whole")) == []


def test_nothing_whole_is_an_error_and_nothing_is_lost(run: Path) -> None:
    for folder in checkpoint.existing(run / "checkpoints"):
        truncate(folder / "ema.safetensors")
    with pytest.raises(InputError, match="none of the 3 checkpoints is whole"):
        train(run, recipe(), resume=True)
    assert len(checkpoint.existing(run / "checkpoints")) == 3


def test_the_newest_and_the_milestones_are_kept(tmp_path: Path) -> None:
    train(tmp_path, recipe(checkpoint_every=0.0, keep=2, milestone_every=20))
    kept = [int(one.name.removeprefix("images-")) for one in checkpoint.existing(tmp_path / "checkpoints")]
    assert kept == [24, 40, 64, 72, 80]


def test_what_cannot_be_deleted_is_a_warning(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "not allowed")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    checkpoint.prune(run / "checkpoints", keep=1)
    assert caplog.text.count("could not be deleted") == 2
    assert newest_folder(run).name == "images-000000016"


@pytest.mark.parametrize("call", range(8))
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG])
def test_a_failure_at_any_write_or_sync_leaves_the_old_ones(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: int, code: int
) -> None:
    """Of fsync's eight calls six are for the files, one for the folder, and one for the folder above."""
    before = {one.name: checkpoint.read(one) for one in checkpoint.existing(run / "checkpoints")}
    count, fsync = iter(range(1000)), os.fsync

    def full(descriptor: int) -> None:
        if next(count) == call:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    state = Contents(last(run).tensors, {**last(run).state, "images": 24})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=os.strerror(code)):
        checkpoint.write(run / "checkpoints", state, images=24)
    monkeypatch.undo()
    assert not list((run / "checkpoints").glob(".*"))
    after = {one.name: checkpoint.read(one) for one in checkpoint.existing(run / "checkpoints")}
    assert len(after) == len(before) + (call == 7)
    assert all(differences(after[name], before[name]) == [] for name in before)
    again = checkpoint.write(run / "checkpoints", state, images=24)
    assert differences(checkpoint.read(again), state) == []


def test_training_outlives_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Full from the third save to the sixth: said in a line each time, and the run is the run it would have been."""
    whole, calls, write = recipe(checkpoint_every=0.0), iter(range(1000)), checkpoint.write

    def sometimes_full(*arguments: object, **named: object) -> Path:
        if 2 <= next(calls) < 6:
            monkeypatch.setattr(files, "write_synced", full)
        try:
            return write(*arguments, **named)  # type: ignore[arg-type]
        finally:
            monkeypatch.setattr(files, "write_synced", synced)

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    synced = files.write_synced
    train(tmp_path / "whole", whole)
    monkeypatch.setattr(checkpoint, "write", sometimes_full)
    train(tmp_path / "full", whole)
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warnings) == 4
    assert all("No space left" in one and "images-000000008" in one and "\n" not in one for one in warnings)
    assert differences(last(tmp_path / "whole"), last(tmp_path / "full")) == []


def test_the_first_and_the_last_save_must_succeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_synced", full)
        with pytest.raises(OSError, match="No space left"):
            train(tmp_path / "first", recipe())

    def fill_the_disk_and_stop() -> bool:
        monkeypatch.setattr(files, "write_synced", full)
        return True

    train(tmp_path / "last", recipe(), until=2)
    stops = iter([False, False])
    with pytest.raises(OSError, match="No space left"):
        train(tmp_path / "last", recipe(), resume=True, stop=lambda: next(stops, True) and fill_the_disk_and_stop())
    monkeypatch.undo()
    assert last(tmp_path / "last").state["images"] == 16


def test_one_process_at_a_time(run: Path) -> None:
    from limner.train.folder import RunFolder

    with RunFolder(run).locked(), pytest.raises(InputError, match=rf"in use by another .* \(process {os.getpid()}\)"):
        train(run, recipe(), resume=True)
    train(run, recipe(), resume=True)


def test_leftovers_of_a_killed_process_are_swept(run: Path) -> None:
    for name in (".writing-000000024", ".deleting-images-000000000"):
        (run / "checkpoints" / name).mkdir()
        (run / "checkpoints" / name / "half").write_text("half")
    (run / ".abc.part").mkdir()
    train(run, recipe(), resume=True)
    assert not list(run.rglob(".*"))


def test_the_manifest_states_the_sums(run: Path) -> None:
    import hashlib

    folder = newest_folder(run)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert sorted(manifest["files"]) == sorted(set(FILES) - {"manifest.json"})
    for name, expected in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
