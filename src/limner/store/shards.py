"""Weights in other programs' folders: one file or shards with an index, plain or in a variant such as fp16.

They are mapped. `read` reads no number; `examine` reads all, with no more than a tensor's in memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from limner.core import InputError
from limner.store.documents import read_json
from limner.store.pages import forget, mappings
from limner.store.weights import CONVERT, check_finite, mapped

SUFFIX = ".safetensors"
PICKLES = (".bin", ".ckpt", ".pt", ".pth")


@dataclass(frozen=True, slots=True)
class Weights:
    """Tensors by name, as `files` have them."""

    files: tuple[Path, ...]
    tensors: Mapping[str, Tensor]


def find(folder: Path, stem: str, *, variant: str = "") -> Path:
    """The file of weights called `stem` in a folder, or the index of its shards; InputError if there is none.

    With `variant` that of `stem.VARIANT`, where the folder has it. Without, the plain one goes before any variant.
    """
    plain, variants = _candidates(folder, stem)
    chosen = variants.get(variant) or plain or next(iter(variants.values()), None)
    if chosen is not None:
        return chosen
    pickles = sorted(path.name for path in folder.glob(f"{stem}*") if path.suffix in PICKLES)
    if pickles:
        raise InputError(f"{folder} has weights in a pickle alone, {pickles[0]}: {CONVERT}")
    raise InputError(f"{folder / (stem + SUFFIX)} is missing; the model is not whole: copy or download it again")


def _candidates(folder: Path, stem: str) -> tuple[Path | None, dict[str, Path]]:
    """The plain one, and others by their variant. Indices are `stem.safetensors.index[.VARIANT].json`."""
    index = f"{stem}{SUFFIX}.index"
    plain = [one for one in (folder / (stem + SUFFIX), folder / f"{index}.json") if one.is_file()]
    variants: dict[str, Path] = {}
    for path in sorted(folder.glob(f"{index}.*.json")):
        variants[path.name.removeprefix(f"{index}.").removesuffix(".json")] = path
    for path in sorted(folder.glob(f"{stem}.*{SUFFIX}")):
        name = path.name.removeprefix(f"{stem}.").removesuffix(SUFFIX)
        if "-of-" not in name:
            variants[name] = path
    return plain[0] if plain else None, variants


def read(path: Path) -> Weights:
    """What `find` found, mapped; InputError names the file that is not sound."""
    if path.suffix != ".json":
        return Weights((path,), mapped(path))
    tensors: dict[str, Tensor] = {}
    places = _places(path)
    for file, names in places.items():
        found = mapped(file)
        if strange := sorted(found.keys() ^ names):
            where = "there is not" if strange[0] in names else "there is, and not in the index"
            raise InputError(f"{path} and {file.name} do not belong together: {strange[0]} {where}; copy both again")
        tensors |= found
    return Weights(tuple(places), tensors)


def examine(where: Path, tensors: Mapping[str, Tensor]) -> None:
    """Look at every number, one tensor after the other, and let each go. InputError names one."""
    files = mappings()
    for name, one in tensors.items():
        check_finite(where, {name: one})
        forget(one, mapped=files)


def _places(index: Path) -> dict[Path, set[str]]:
    """Which tensors are in which shard."""
    match read_json(index):
        case {"weight_map": dict(places)} if places:
            pass
        case _:
            raise InputError(f"{index} has no weight_map that says where tensors are; copy or download it again")
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, file in places.items():
        if not isinstance(file, str):
            raise InputError(f"{index}: {name} is in {file!r}, which is no file's name; copy or download it again")
        found[file].add(name)
    return {_beside(index, file): names for file, names in sorted(found.items())}


def _beside(index: Path, name: str) -> Path:
    """The shard `name`, which must lie beside its index, and be no link that leads elsewhere.

    Hugging Face's cache is made of links, from a folder snapshots/... to one called blobs.
    """
    path = index.parent / name
    if Path(name).name != name or name in ("", "..") or "\0" in name or "\\" in name:
        raise InputError(f"{index} names {name!r}, which is no file beside it; take the index that came with the model")
    roots = [index.parent.resolve()]
    roots += [one.parent.resolve() / "blobs" for one in path.absolute().parents if one.name == "snapshots"]
    if not any(path.resolve().is_relative_to(root) for root in roots):
        raise InputError(f"{path} is a link to a file elsewhere; put the shard itself there")
    if not path.is_file():
        raise InputError(f"{path} is missing, which {index.name} names; copy or download the model again")
    return path
