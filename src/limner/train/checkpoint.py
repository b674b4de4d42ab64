"""A checkpoint: a folder of safetensors and JSON with the SHA-256 of each file, whole or not there at all.

It is written aside, synced, and renamed; what is torn or changed afterwards is found by its sums.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from limner.core import InputError
from limner.store import files

log = logging.getLogger(__name__)
PREFIX, ASIDE, DELETING, DAMAGED = "images-", ".writing-", ".deleting-", "damaged-"


@dataclass(frozen=True, slots=True)
class Contents:
    """`tensors` by file and name, `state` plain JSON values."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


class DamagedError(Exception):
    """A checkpoint that does not hold what was written: the message names the file."""


def folder_name(images: int) -> str:
    return f"{PREFIX}{images:09d}"


def existing(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    found = [one for one in folder.glob(f"{PREFIX}*") if one.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=lambda one: int(one.name.removeprefix(PREFIX)))


def write(folder: Path, contents: Contents, *, images: int) -> Path:
    """Write the checkpoint `folder`/images-..., or raise OSError and leave nothing of it."""
    aside, final = folder / f"{ASIDE}{images:09d}", folder / folder_name(images)
    remove_partial(folder)
    try:
        aside.mkdir(parents=True)
        sums = {}
        for name, tensors in contents.tensors.items():
            packed = safetensors.torch.save({key: value.contiguous() for key, value in tensors.items()})
            sums[f"{name}.safetensors"] = _written(aside / f"{name}.safetensors", packed)
        sums["state.json"] = _written(aside / "state.json", json.dumps(contents.state, indent=1).encode())
        files.write_synced(aside / "manifest.json", _manifest(sums))
        files.sync_folder(aside)
        _make_way(final)
        aside.rename(final)
        files.sync_folder(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return final


def read(folder: Path) -> Contents:
    """What `write` wrote; `DamagedError` if a file is missing, torn or changed."""
    sums = _verified_manifest(folder)
    raw = {name: _verified(folder / name, expected) for name, expected in sums.items()}
    state = json.loads(raw.pop("state.json"))
    return Contents(
        {name.removesuffix(".safetensors"): safetensors.torch.load(data) for name, data in raw.items()}, state
    )


def newest(folder: Path) -> tuple[Path, Contents]:
    """The newest checkpoint that holds, after setting damaged ones aside; InputError if none does."""
    candidates = existing(folder)
    if not candidates:
        raise InputError(f"{folder}: there is no checkpoint to resume from; start the run without --resume")
    damaged = []
    for candidate in reversed(candidates):
        try:
            contents = read(candidate)
        except DamagedError as error:
            log.warning("%s; going back to the checkpoint before it", error)
            damaged.append(candidate)
            continue
        for one in damaged:
            _set_aside(one)
        return candidate, contents
    raise InputError(
        f"{folder}: none of the {len(candidates)} checkpoints is whole; restore one from a backup, "
        "or begin anew in another folder"
    )


def prune(folder: Path, *, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints and the milestones. What cannot be deleted is a warning."""
    for old in existing(folder)[:-keep]:
        if _is_milestone(old):
            continue
        try:
            shutil.rmtree(old.rename(old.with_name(DELETING + old.name)))
        except OSError as error:
            log.warning("the old checkpoint %s could not be deleted: %s", old, error)


def remove_partial(folder: Path) -> None:
    """Delete what a killed process left half written, or half deleted."""
    for partial in (*folder.glob(f"{ASIDE}*"), *folder.glob(f"{DELETING}*")):
        shutil.rmtree(partial, ignore_errors=True)


def _written(path: Path, data: bytes) -> str:
    files.write_synced(path, data)
    return hashlib.sha256(data).hexdigest()


def _manifest(sums: Mapping[str, str]) -> bytes:
    body = {"format": 1, "files": dict(sums)}
    return json.dumps({**body, "sha256": _canonical_sum(body)}, indent=1).encode()


def _canonical_sum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _verified_manifest(folder: Path) -> dict[str, str]:
    path = folder / "manifest.json"
    try:
        body = json.loads(path.read_bytes())
        expected = body.pop("sha256")
        sums = {name: str(body["files"][name]) for name in ("state.json", *body["files"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} cannot be read ({error!r})") from None
    if _canonical_sum(body) != expected:
        raise DamagedError(f"{path} does not have the SHA-256 that it states")
    return sums


def _verified(path: Path, expected: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path} cannot be read ({error.strerror})") from None
    if hashlib.sha256(data).hexdigest() != expected:
        raise DamagedError(f"{path} does not have the SHA-256 that its manifest states")
    return data


def _make_way(final: Path) -> None:
    """There is something at `final` already only if its own save failed in the last moment."""
    if final.exists():
        shutil.rmtree(final.rename(final.with_name(DELETING + final.name)))


def _is_milestone(checkpoint: Path) -> bool:
    try:
        return bool(json.loads((checkpoint / "state.json").read_bytes())["milestone"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _set_aside(checkpoint: Path) -> None:
    """Out of the row of checkpoints, but not deleted: somebody may want to look at it."""
    target = checkpoint.with_name(DAMAGED + checkpoint.name)
    shutil.rmtree(target, ignore_errors=True)
    checkpoint.rename(target)
