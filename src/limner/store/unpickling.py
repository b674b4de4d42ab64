"""The one place where a pickle is read: in a process of its own, which store/confining.py has taken the network from.

It reads what torch's reader of weights admits, and writes safetensors to its standard output, and to its standard error
a line of JSON that says what it did. store/conversion.py starts it.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import safe_globals

from limner.store import confining, weights

SPARE = 512 << 20  # bytes of memory beside the file's: the library's own, and the largest tensor
SMALL = 64 << 20  # bytes that a result may have beside twice the file's
CONTAINERS = ("state_dict", "model_state_dict", "module", "model", "params_ema", "params")  # where weights are kept
AVERAGES = "model_ema."
INERT = (  # objects that trainings keep beside weights, and that an empty one may stand for
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint",
    "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype",
)  # fmt: skip


class RefusedError(Exception):
    """In one line, why there is no result."""


class Inert:
    """Nothing, whatever it is made of."""

    def __new__(cls, *arguments: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def main(network: str) -> None:
    """What is printed tells how it went; `network` is what `confining.without_network` said."""
    source, kept = Path(sys.argv[1]), sys.argv[2]
    result = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what libraries print is no part of it
    size = source.stat().st_size
    limits = [network, confining.without_programs()]
    seconds = 60 + 60 * (size >> 30)
    limits += confining.limited(memory=2 * size + SPARE, seconds=seconds, file=2 * size + SMALL, files=64)
    report: dict[str, Any] = {"limits": [one for one in limits if one]}
    try:
        report |= _carried_out(source, kept, result)
    except RefusedError as error:
        report["refused"] = str(error)
    except (MemoryError, OSError, RuntimeError, ValueError) as error:
        report["refused"] = f"it cannot be read within these limits ({_line(error)})"
    print(json.dumps(report), file=sys.stderr)


def _carried_out(source: Path, kept: str, result: int) -> dict[str, Any]:
    tensors, dropped = tensors_in(read(source), kept)
    total = sum(one.numel() * one.element_size() for one in tensors.values())
    if total > 2 * source.stat().st_size + SMALL:
        raise RefusedError(f"its tensors claim {total:,} bytes, more than twice the file's")
    with os.fdopen(result, "wb") as file:
        weights.write(file, tensors, metadata={"format": "pt"})
    kinds = Counter(str(one.dtype).removeprefix("torch.") for one in tensors.values())
    return {"tensors": len(tensors), "dropped": dropped, "dtypes": kinds}


def read(source: Path) -> Any:
    """Whatever is in it: tensors and plain values, or it is refused."""
    zipped = _check_archive(source)
    torch.set_num_threads(1)
    try:
        with safe_globals([(Inert, name) for name in INERT]):
            return torch.load(source, map_location="cpu", weights_only=True, mmap=zipped)  # noqa: TID251  (here alone)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # of many kinds, for a file that is torn
        if wanted := re.search(r"GLOBAL (\S+)", str(error)):
            raise RefusedError(f"it asks for {wanted[1]}, which is no tensor; nothing of it was run") from None
        if "alloc" in str(error):
            raise RefusedError("it asks for more memory than a file of its size needs") from None
        raise RefusedError(f"it is no file of weights, or torn ({_line(error)})") from None


def _check_archive(source: Path) -> bool:
    """Whether it is a zip archive, whose parts torch.save leaves as large as they are."""
    try:
        if not zipfile.is_zipfile(source):
            return False
        with zipfile.ZipFile(source) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise RefusedError(f"it is a torn archive ({_line(error)})") from None
    total = sum(part.file_size for part in parts)
    if total > source.stat().st_size or any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise RefusedError(f"its parts are packed, {total:,} bytes of them, as no program that keeps weights does")
    return True


def tensors_in(found: Any, kept: str) -> tuple[dict[str, Tensor], dict[str, int]]:
    """The tensors by name, and how many things of which kind are left out."""
    dropped: Counter[str] = Counter()
    while inner := _container(found):
        dropped.update(str(name)[:60] for name in found if name != inner)
        found = found[inner]
    if not isinstance(found, Mapping):
        raise RefusedError(f"it holds a {type(found).__name__} and no tensors by name")
    tensors = {name: one for name, one in found.items() if isinstance(name, str) and isinstance(one, Tensor)}
    dropped["things that are no tensors"] = len(found) - len(tensors)
    averages = {name: tensors.pop(name) for name in list(tensors) if name.startswith(AVERAGES)}
    if kept == "averaged":
        taken = {name: averages.pop(average(name)) for name in tensors if average(name) in averages}
        if not taken:
            raise RefusedError("it has no averaged weights; leave out --weights averaged")
        tensors |= taken
        dropped["weights in whose place the averaged are"] = len(taken)
    dropped["averaged weights"] = len(averages)
    if not tensors:
        raise RefusedError("it holds no tensors by name")
    plain = {name: _plain(name, one) for name, one in tensors.items()}
    return plain, {name: count for name, count in dropped.items() if count}


def _container(found: Any) -> str | None:
    """Under which name the weights are, where they are not here."""
    if not isinstance(found, Mapping):
        return None
    return next((name for name in CONTAINERS if isinstance(found.get(name), Mapping)), None)


def average(name: str) -> str:
    """Where a training keeps the running mean of a weight: dots within its name are left out."""
    return AVERAGES + name.removeprefix("model.").replace(".", "")


def _plain(name: str, tensor: Tensor) -> Tensor:
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.dtype not in weights.NAMES:
        raise RefusedError(
            f"{name[:80]} is a tensor of a kind that safetensors has not ({tensor.dtype}, {tensor.layout})"
        )
    return tensor.detach()


def _line(error: BaseException) -> str:
    """The first sentence: torch's errors are pages long."""
    text = " ".join(str(error).split())
    text = text.rpartition("WeightsUnpickler error: ")[2]
    return re.split(r"\. | Check the documentation", text)[0][:160] or type(error).__name__
