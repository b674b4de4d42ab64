"""What a safetensors file may be, told by its content; and tensors into such files and out of them.

The rules are the format's own: a header that begins with `{`, tensors without holes, overlaps or duplicates, and
nothing behind the last one. The header is held shorter than the format allows, so that reading it takes little memory.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from limner.core import InputError
from limner.store.documents import decode

MOST_HEADER = 8 << 20  # 60,000 tensors; the largest models have some thousands
SPARE, PIECE = 64 << 20, 256  # memory that reading a header may take beside the file's size, and that of a piece of it
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}
REMEDY = "weights are safetensors files, and no other kind is opened"
CONVERT = "limner convert OLD NEW.safetensors makes safetensors of a pickle"
FOREIGN = {
    b"\x80": f"is a Python pickle, which can run anything when it is read: {REMEDY}; {CONVERT}",
    b"PK": f"is a zip archive, as torch.save writes, with a pickle inside: {REMEDY}; {CONVERT}",
    b"\x89HDF": f"is an HDF5 file: {REMEDY}",
    b"\x93NUMPY": f"is a NumPy file: {REMEDY}",
    b"GGUF": f"is a GGUF file: {REMEDY}",
    b"version https://git-lfs": "is a Git LFS pointer and not the file itself; fetch it with `git lfs pull`",
}


def load(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, mapped and not copied; InputError if the file is not sound or not all finite."""
    tensors = mapped(path)
    check_finite(path, tensors)
    return tensors


def mapped(path: Path) -> dict[str, Tensor]:
    """The tensors of a sound file, of which no number has been read yet."""
    from safetensors import SafetensorError, safe_open

    check(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    except SafetensorError as error:
        raise InputError(f"{path} cannot be read as safetensors ({error}); copy or download it again") from None


def check_finite(path: Path, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not finite(tensor):
            raise InputError(
                f"{path}: {name!r} holds numbers that are not finite; take the weights of an earlier state"
            )


def finite(tensor: Tensor) -> bool:
    """Whether no number is NaN or infinite: the smallest and the largest tell, without a mask of all."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(math.isfinite(one.item()) for one in torch.aminmax(tensor))


def dump(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of one file. They are written by us, because the library hides what the system says of a full disk."""
    import safetensors.torch

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return bytes(safetensors.torch.save(plain, metadata={"format": "pt"}))


def write_file(path: Path, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str]) -> None:
    """`write` into a file that is on the disk when this returns."""
    with path.open("wb") as file:
        write(file, tensors, metadata=metadata)
        file.flush()
        os.fsync(file.fileno())


def write(file: BinaryIO, tensors: Mapping[str, Tensor], *, metadata: Mapping[str, str]) -> None:
    """What `dump` makes, one tensor after the other, so that there is never a second copy of all of them."""
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # each is aligned to its numbers
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name in order:
        one = tensors[name]
        begin, end = end, end + one.numel() * one.element_size()
        entries[name] = {"dtype": NAMES[one.dtype], "shape": list(one.shape), "data_offsets": [begin, end]}
    raw = json.dumps(entries, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    assert len(raw) <= MOST_HEADER, f"a header of {len(raw)} bytes could not be read again"
    file.write(struct.pack("<Q", len(raw)) + raw)
    for name in order:
        plain = tensors[name].detach().cpu().contiguous()
        if plain.numel():
            file.write(plain.reshape(-1).view(torch.uint8).numpy().data)


def check_match(wrong: str, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Every key accounted for, and of the right shape and kind; else one line: `wrong`, and the first differences."""
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{_shown(name)} is unknown" for name in found if name not in expected]
    for name in sorted(expected.keys() & found.keys()):
        want, have = expected[name], found[name]
        if want.shape != have.shape:
            problems.append(f"{name} is {_shape(have.shape)} where it should be {_shape(want.shape)}")
        elif want.is_floating_point() != have.is_floating_point():
            problems.append(f"{name} is {have.dtype} where {want.dtype} is meant")
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise InputError(f"{wrong}: {', '.join(problems[:3])}{more}")


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _shown(name: str) -> str:
    """A name that somebody else gave, in a line and without what a terminal would obey."""
    return name[:200] if name.isprintable() else repr(name[:200])


def shards(tensors: Mapping[str, Tensor], *, most: int) -> list[dict[str, Tensor]]:
    """Tensors in their order, each shard of at most `most` bytes unless one tensor alone is larger."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > most:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    return parts


# ---------------------------------------------------------------------------------------------------
# The rules.


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself, before any number is read: of each tensor its dtype and shape."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]


def check(path: Path) -> None:
    """InputError, naming what the file is instead, unless it keeps every rule of the format."""
    header(path)


def header(path: Path) -> Header:
    """The header of a file that keeps every rule of the format, else the same InputError."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            raw = _raw_header(path, file, size)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; the model is not whole: copy or download it again") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder and not a file of weights") from None
    metadata, entries = _entries(path, raw, most=(size + SPARE) // PIECE)
    end = 8 + len(raw) + _laid_out(path, entries)
    if end > size:
        raise _truncated(path, size, end)
    if end < size:
        raise _unsound(path, f"{size - end:,} bytes behind the last tensor belong to none")
    return Header(metadata, {name: (DTYPES[one["dtype"]], tuple(one["shape"])) for name, one in entries.items()})


def _raw_header(path: Path, file: BinaryIO, size: int) -> bytes:
    start = file.read(32)
    length = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
    if length < 2 or start[8:9] != b"{":
        raise InputError(f"{path} {_foreign(start)}")
    if length > MOST_HEADER:
        raise _unsound(path, f"a header of {length:,} bytes, where at most {MOST_HEADER:,} are read")
    if 8 + length > size:
        raise _truncated(path, size, 8 + length)
    file.seek(8)
    return file.read(length)


def _foreign(start: bytes) -> str:
    if not start:
        return "is empty; copy or download it again"
    for magic, what in FOREIGN.items():
        if start.startswith(magic):
            return what
    return f"is not a safetensors file: {REMEDY}"


def _entries(path: Path, raw: bytes, *, most: int) -> tuple[dict[str, str], dict[str, Any]]:
    try:
        header = decode(raw, most=most, pairs=_without_duplicates)
    except ValueError as error:
        raise _unsound(path, str(error)) from None
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _unsound(path, "__metadata__ is not a map of strings")
    return metadata, dict(header)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _laid_out(path: Path, entries: Mapping[str, Any]) -> int:
    """Tensors lie one behind the other from 0 on; where the last one ends."""
    spans = sorted((*_span(path, name, entry), name) for name, entry in entries.items())
    end = 0
    for begin, stop, name in spans:
        if begin != end:
            raise _unsound(path, f"{name!r} begins at {begin} and not at {end}: a hole or an overlap")
        end = stop
    return end


def _span(path: Path, name: str, entry: Any) -> tuple[int, int]:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(stop)]} if len(entry) == 3:
            pass
        case _:
            raise _unsound(path, f"the entry of {name!r} is not a dtype, a shape and two offsets")
    if dtype not in DTYPES:
        raise InputError(f"{path}: {name!r} is of dtype {dtype}; known are {', '.join(DTYPES)}")
    if not all(type(one) is int and one >= 0 for one in shape):
        raise _unsound(path, f"the shape of {name!r} is not a list of sizes")
    if stop - begin != math.prod(shape) * DTYPES[dtype].itemsize:
        raise _unsound(path, f"the offsets of {name!r} do not fit its shape")
    return begin, stop


def _truncated(path: Path, size: int, needed: int) -> InputError:
    return InputError(f"{path} is truncated: it has {size:,} bytes of {needed:,}; copy or download it again")


def _unsound(path: Path, why: str) -> InputError:
    return InputError(f"{path} breaks the rules of safetensors ({why}); copy or download it again")
