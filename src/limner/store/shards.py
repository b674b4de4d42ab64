"""Weights in other programs' folders: one file or shards with an index, plain or in a variant such as fp16.

They are mapped, and every number is looked at once. No more than one tensor's are in memory for that.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from limner.core import InputError
from limner.store.documents import read_json
from limner.store.weights import check_finite, mapped

SUFFIX = ".safetensors"
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
CONVERT = "limner convert OLD NEW.safetensors makes safetensors of a pickle"


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
    """What `find` found, mapped; InputError names the file or the tensor that is not sound."""
    if path.suffix != ".json":
        return Weights((path,), _whole(path))
    tensors: dict[str, Tensor] = {}
    places = _places(path)
    for file, names in places.items():
        found = _whole(file)
        if strange := sorted(found.keys() ^ names):
            where = "there is not" if strange[0] in names else "there is, and not in the index"
            raise InputError(f"{path} and {file.name} do not belong together: {strange[0]} {where}; copy both again")
        tensors |= found
    return Weights(tuple(places), tensors)


def _whole(path: Path) -> dict[str, Tensor]:
    """Each tensor is looked at and let go: what is resident at any moment is the largest of them."""
    tensors = mapped(path)
    for name, one in tensors.items():
        check_finite(path, {name: one})
        let_go(one)
    return tensors


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
    if Path(name).name != name or "\0" in name or "\\" in name:
        raise InputError(f"{index} names {name!r}, which is no file beside it; take the index that came with the model")
    roots = [index.parent.resolve()]
    roots += [one.parent.resolve() / "blobs" for one in path.absolute().parents if one.name == "snapshots"]
    if not any(path.resolve().is_relative_to(root) for root in roots):
        raise InputError(f"{path} is a link to a file elsewhere; put the shard itself there")
    if not path.is_file():
        raise InputError(f"{path} is missing, which {index.name} names; copy or download the model again")
    return path


# ---------------------------------------------------------------------------------------------------
# Memory.


def let_go(tensor: Tensor) -> None:
    """Leave a mapped tensor's numbers to the file until they are read again: meanwhile they take no memory.

    Only for a tensor that nobody has changed, since changes are in memory alone.
    """
    begin = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (tensor.data_ptr() + tensor.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE - begin
    if length > 0 and (advise := _madvise()) is not None:
        advise(begin, length, mmap.MADV_DONTNEED)


@functools.cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """Linux's, whose MADV_DONTNEED means just this."""
    try:
        advise = ctypes.CDLL(None).madvise
    except (AttributeError, OSError, TypeError):
        return None
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return advise
