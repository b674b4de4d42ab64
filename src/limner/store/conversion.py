"""Weights out of a pickle, by a process that can do nothing else (store/confining.py, store/unpickling.py)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from limner.core import InputError, check
from limner.store import shards
from limner.store.files import sha256, written_aside
from limner.store.weights import mapped

Kept = Literal["trained", "averaged"]  # the weights themselves, or the running means that some trainings keep
LONGEST_REPORT = 1 << 16  # bytes
PASSED = ("PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "LANG", "OMP_NUM_THREADS", "SYSTEMROOT")  # of the environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What was done: `dropped` and `dtypes` count, `limits` are those that held, `hash` is of the new file."""

    tensors: int
    dtypes: Mapping[str, int]
    dropped: Mapping[str, int]
    limits: list[str]
    size: int
    hash: str


def convert(source: Path, target: Path, *, kept: Kept = "trained") -> Conversion:
    """The tensors in a pickle, `source`, as safetensors at `target`: all of it or nothing.

    InputError where the source is no pickle of weights, asks for anything but tensors, claims more memory than its
    size warrants, or holds numbers that are not finite; and where there is something at `target` already.
    """
    _check_source(source)
    check(target.suffix == ".safetensors", f"{target} is no name for weights: let it end in .safetensors")
    check(not target.exists(), f"{target} exists; remove it, or name another file")
    check(target.parent.is_dir(), f"{target.parent} does not exist; name a file in a folder that does")
    with written_aside(target) as file:
        report = _run(source, kept, file)
        if refused := report.get("refused"):
            raise InputError(f"{source} is not converted: {refused}")
        aside = Path(file.name)
        try:
            shards.examine(aside, mapped(aside))  # what wrote it has read what we do not trust
        except InputError as error:
            raise InputError(f"{source} is not converted: {str(error).replace(str(aside), target.name)}") from None
        found, size = sha256(aside), aside.stat().st_size
    return Conversion(
        tensors=report["tensors"], dtypes=report["dtypes"], dropped=report["dropped"], limits=report["limits"],
        size=size, hash=found,
    )  # fmt: skip


def _check_source(source: Path) -> None:
    check(source.exists(), f"{source} does not exist; name a .ckpt, .pt, .pth or .bin")
    check(source.is_file(), f"{source} is no file; name a .ckpt, .pt, .pth or .bin")
    with source.open("rb") as file:
        start = file.read(16)
    check(bool(start), f"{source} is empty; copy or download it again")
    check(start[8:9] != b"{", f"{source} is safetensors already, whatever its name: use it as it is")


def _run(source: Path, kept: Kept, result: BinaryIO) -> dict[str, Any]:
    """What the process says of its work; InputError where it has not come to that."""
    command = [sys.executable, "-I", str(Path(__file__).with_name("confining.py")), str(source.resolve()), kept]
    environment = {name: os.environ[name] for name in PASSED if name in os.environ}
    seconds = 120 + 120 * (source.stat().st_size >> 30)
    with tempfile.TemporaryFile() as said:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=result, stderr=said, env=environment, timeout=seconds,
                cwd="/", check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise InputError(f"{source} is not converted: reading it took more than {seconds} s") from None
        said.seek(max(said.seek(0, os.SEEK_END) - LONGEST_REPORT, 0))
        lines = said.read().decode(errors="replace").splitlines()
    try:
        report = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise InputError(f"{source} is not converted: {_ended(done.returncode, lines)}") from None
    report["limits"].append(f"{seconds:,} s in all")
    assert isinstance(report, dict)
    return report


def _ended(code: int, lines: list[str]) -> str:
    if code < 0:
        return f"reading it was ended by the system ({signal.Signals(-code).name}), as torn files and bombs are"
    return f"reading it failed ({lines[-1][:200] if lines else code})"
