"""A model is a folder: config.json, model.safetensors (or shards), tokenizer.json, card.md and manifest.json.

The manifest has the SHA-256 of every file that the model is made of, so that a flipped bit is found. The
card is prose for people, may be edited, and is left out of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

import limner
from limner.core import InputError
from limner.store import weights
from limner.store.files import replaced_folder, sha256, write_synced

FORMAT = 1
CONFIG, TOKENIZER, MANIFEST, CARD = "config.json", "tokenizer.json", "manifest.json", "card.md"
INDEX = "model.safetensors.index.json"
AGAIN = "copy the model again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What is known of a model without opening its weights. `hash` is the SHA-256 of its weights."""

    folder: Path
    limner: str
    family: str
    config: Mapping[str, Any]
    sums: Mapping[str, str]

    @property
    def weights(self) -> list[str]:
        return sorted(name for name in self.sums if name.endswith(".safetensors"))

    @property
    def hash(self) -> str:
        """Of one file its own SHA-256, as other programs state it; of shards that of their sums in order."""
        sums = [self.sums[name] for name in self.weights]
        return sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest()

    @property
    def size(self) -> int:
        """Of the weights, in bytes."""
        return sum((self.folder / name).stat().st_size for name in self.weights)

    @property
    def card(self) -> str:
        path = self.folder / CARD
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


@dataclass(frozen=True, slots=True)
class Stored:
    """A model as it lies on disk. `tensors` are mapped files: nothing is read before it is used."""

    family: str
    config: Mapping[str, Any]
    tokenizer: str
    tensors: Mapping[str, Tensor]
    hash: str


def holds_model(folder: Path) -> bool:
    return (folder / CONFIG).is_file()


def describe(folder: Path) -> Description:
    """Config and manifest alone, which takes a moment; InputError if the folder holds no whole model."""
    _check_folder(folder)
    sums = _manifest(folder / MANIFEST)
    for name in sums:
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing; the model is not whole: {AGAIN}")
    _verify(folder / CONFIG, sums[CONFIG])
    config = _json(folder / CONFIG)
    match config:
        case {"limner": str(version), "family": str(family), "config": dict(values)}:
            return Description(folder=folder, limner=version, family=family, config=values, sums=sums)
    raise InputError(f'{folder / CONFIG} has no "limner", "family" and "config"; {AGAIN}')


def read(folder: Path) -> Stored:
    """A whole model, every sum verified; InputError names the file that is missing, foreign, torn or changed."""
    about = describe(folder)
    tensors: dict[str, Tensor] = {}
    for name in about.weights:
        found = weights.load(folder / name)
        if twice := tensors.keys() & found.keys():
            raise InputError(f"{folder / name}: {min(twice)} is in another shard too; {AGAIN}")
        tensors |= found
    for name, expected in about.sums.items():
        _verify(folder / name, expected)
    tokenizer = (folder / TOKENIZER).read_text(encoding="utf-8")
    return Stored(about.family, about.config, tokenizer, tensors, about.hash)


def write(
    folder: Path, *, family: str, config: Mapping[str, Any], tokenizer: str, tensors: Mapping[str, Tensor],
    card: str = "", shard_bytes: int | None = None,
) -> None:  # fmt: skip
    """Put a model at `folder`, in the place of one that is there; all of it or nothing.

    With `shard_bytes` the weights are split into files of at most so many bytes of numbers. A folder that
    holds anything but a model is an InputError, because it would be lost.
    """
    _check_replaceable(folder)
    about = {"limner": limner.__version__, "family": family, "config": config}
    with replaced_folder(folder) as aside:
        texts = {CONFIG: _dumped(about), TOKENIZER: tokenizer.encode(), CARD: card.encode()}
        for name, text in texts.items():
            if text:
                write_synced(aside / name, text)
        _write_weights(aside, tensors, most=shard_bytes)
        sums = {path.name: sha256(path) for path in sorted(aside.iterdir()) if path.name != CARD}
        body = {"format": FORMAT, "files": sums}
        write_synced(aside / MANIFEST, _dumped({**body, "sha256": _own_sum(body)}))


def _write_weights(folder: Path, tensors: Mapping[str, Tensor], *, most: int | None) -> None:
    parts = weights.shards(tensors, most=most) if most is not None else [dict(tensors)]
    if len(parts) == 1:
        write_synced(folder / "model.safetensors", weights.dump(parts[0]))
        return
    places: dict[str, str] = {}
    for number, part in enumerate(parts, start=1):
        name = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        write_synced(folder / name, weights.dump(part))
        places |= dict.fromkeys(part, name)
    total = sum(tensor.nbytes for tensor in tensors.values())
    write_synced(folder / INDEX, _dumped({"metadata": {"total_size": total}, "weight_map": places}))


def _dumped(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


# ---------------------------------------------------------------------------------------------------
# Checks.


def _check_folder(folder: Path) -> None:
    if folder.is_file():
        weights.check(folder)
        raise InputError(
            f"{folder} is a file of weights, and of no model that is kept in one file alone; "
            f"name the model's folder, which has its {CONFIG} too"
        )
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist; name a model's folder")
    if not holds_model(folder):
        raise InputError(f"{folder} holds no model: there is no {CONFIG} in it; name a model's folder")
    if not (folder / MANIFEST).is_file() and not _is_ours(_json(folder / CONFIG)):
        raise InputError(
            f"{folder} holds no model of Limner's: its {CONFIG} names no family; if it is a part of another program's "
            "model, such as its unet, name the folder of the whole"
        )


def _is_ours(config: object) -> bool:
    return isinstance(config, dict) and "family" in config


def _check_replaceable(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder for the model")
    ours = {CONFIG, TOKENIZER, MANIFEST, CARD, INDEX}
    for path in folder.iterdir():
        if path.name not in ours and not (path.name.startswith("model") and path.suffix == ".safetensors"):
            raise InputError(f"{folder} holds {path.name}, which is no part of a model; name another folder")


def _manifest(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise InputError(f"{path} is missing, without which the model cannot be verified: {AGAIN}")
    match manifest := _json(path):
        case {"format": int(number)} if number > FORMAT:
            raise InputError(f"{path}: format {number} was written by a newer Limner; install that one")
        case {"format": 1, "files": dict(files), "sha256": str(expected)}:
            body = {key: value for key, value in manifest.items() if key != "sha256"}
            plain = all(Path(name).name == name and isinstance(one, str) for name, one in files.items())
            parts = {CONFIG, TOKENIZER} <= files.keys() and any(name.endswith(".safetensors") for name in files)
            if _own_sum(body) == expected and plain and parts:
                return files
    raise InputError(f"{path} does not have the SHA-256 that it states, or lacks a file: {AGAIN}")


def _own_sum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _verify(path: Path, expected: str) -> None:
    if sha256(path) != expected:
        raise InputError(f"{path} is not as it was written: its SHA-256 is not the manifest's; {AGAIN}")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); {AGAIN}") from None
