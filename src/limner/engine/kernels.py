"""Kernels of our own in C, for processors that multiply bfloat16 and for those that have vectors of float32, where the
machine has a compiler: made once, in a second or two, and kept between processes."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from limner.engine.compiled import folder

Features = tuple[str, ...]

HERE = Path(__file__).parent
VECTORS = ("avx512_f", "avx512_bw", "avx512_dq", "avx512_vl", "avx512_bf16")
TILES, HALVES, PAIRS = "AMX", "AVX-512's halves", "AVX-512's pairs"
WIDE, NARROW = "AVX-512", "AVX2"
# What a processor has to have, by what multiplies.
MACHINES: Mapping[str, Features] = {
    TILES: ("amx_tile", "amx_bf16", *VECTORS), HALVES: ("avx512_fp16", *VECTORS), PAIRS: VECTORS,
    WIDE: ("avx512_f",), NARROW: ("avx2", "f16c"),
}  # fmt: skip
# Not vectorised by the compiler as well: gcc 12 takes some of the addresses for aligned that are not, and stores there.
COMPILE = ["-O3", "-fno-tree-vectorize", "-mfma", "-fopenmp", "-fPIC", "-c"]
PATIENCE = 60.0  # seconds for the compiler

Kernel = TypeVar("Kernel")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """What there is to know of the kernels for a type of numbers."""

    ending: str  # of the name of their files
    by: Collection[str]  # of MACHINES; the first that can be had is taken
    weights: tuple[torch.dtype, ...]  # of what types these may be, as the kernels number them
    agrees: float  # relative error against torch in float32


KINDS = {
    torch.bfloat16: Kind("", (TILES, HALVES, PAIRS), (torch.bfloat16,), 1e-2),  # rounding once makes 2e-3
    torch.float32: Kind("_float32", (WIDE, NARROW), (torch.float32, torch.bfloat16, torch.float16), 1e-5),
}


def takes(x: torch.Tensor, weights: torch.dtype) -> bool:
    """Whether there are kernels for maps like `x` with weights of a type."""
    kind = KINDS.get(x.dtype)
    return kind is not None and weights in kind.weights and x.device.type == "cpu"


def tried(
    name: str, dtype: torch.dtype, wrap: Callable[[ctypes.CDLL], Kernel], attempt: Callable[[Kernel], None]
) -> Kernel | None:
    """What `wrap` makes of the kernels `name` for numbers of a type, by the first of MACHINES that this is; None where
    they cannot be had or `attempt` raises ValueError, for their answer is not right."""
    name += KINDS[dtype].ending
    for machine in (one for one in MACHINES if one in KINDS[dtype].by):
        if (found := load(name, machine)) is None:
            continue
        try:
            kernel = wrap(found)
            attempt(kernel)
        except (AttributeError, ValueError) as error:
            log.info("%s is not by %s: %s", name, machine, error)
            continue
        return kernel
    return None


def load(name: str, machine: str) -> ctypes.CDLL | None:
    """`name`.c, compiled or as it was kept, for one of MACHINES; None where this is none or it cannot be had."""
    features = MACHINES[machine]
    if not all(torch.cpu.get_capabilities().get(one) for one in features):
        return None
    try:
        return _loaded(_built(HERE / f"{name}.c", features))
    except (OSError, subprocess.SubprocessError) as error:
        log.info("%s is not by %s: %s", name, machine, error)
        return None


def check_error(found: torch.Tensor, expected: torch.Tensor) -> None:
    """ValueError where it is further off than numbers of its type may be."""
    error = float((found.float() - expected).norm() / expected.norm())
    if not error <= KINDS[found.dtype].agrees:
        raise ValueError(f"the compiled kernel is off by {error:.1e}")


def _loaded(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    permitted = getattr(library, "permitted", None)
    if permitted is not None and not permitted():
        raise OSError("the system does not let this process use it")
    return library


def _built(source: Path, features: Features) -> Path:
    """The library, made now if it never was. OSError or SubprocessError where that cannot be."""
    compiler = shutil.which(os.environ.get("CC") or "gcc")
    if compiler is None:
        raise FileNotFoundError("there is no C compiler (gcc)")
    # What is kept is another's where anything differs that it was made from.
    texts = [source.read_text(), *(header.read_text() for header in sorted(HERE.glob("*.h")))]
    flags = [*COMPILE, *(f"-m{one.replace('avx512_', 'avx512').replace('_', '-')}" for one in features)]
    about = "\n".join([*texts, compiler, *flags, torch.__version__, *_openmp()])
    made = folder() / f"{source.stem}-{hashlib.sha256(about.encode()).hexdigest()[:16]}.so"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
            steps = Path(scratch) / f"{source.stem}.o", Path(scratch) / made.name
            _call([compiler, *flags, f"-I{HERE}", str(source), "-o", str(steps[0])])
            _call([compiler, "-shared", str(steps[0]), "-o", str(steps[1]), *_openmp(), "-lm"])
            steps[1].replace(made)  # whole or not at all, whoever else makes it now
    return made


def _openmp() -> list[str]:
    """That of torch, so that there are no two sets of threads."""
    own = sorted(Path(torch.__file__).parent.glob("lib/libgomp*.so*"))
    return [str(own[0])] if own else ["-fopenmp"]


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise OSError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[:500]}")
