"""Attention in bfloat16 by our own kernel (attention.c), where the processor has AMX and the machine a compiler.

torch's own spends most of its time in exponentials. Ours is compiled once in a second or two and kept between
processes; without a compiler, or where it does not do what it should, torch's is taken.

B batch, H heads, N queries, M keys, D channels of a head.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.engine.compiled import folder
from limner.nn import attention

SOURCE = Path(__file__).with_name("attention.c")
NEEDED = ("amx_tile", "amx_bf16", "avx512_f", "avx512_bw", "avx512_dq", "avx512_vl", "avx512_bf16")
MACHINE = [f"-m{name.replace('avx512_', 'avx512').replace('_', '-')}" for name in NEEDED]
# Not vectorised by the compiler as well: gcc 12 takes some of the addresses for aligned that are not, and stores there.
COMPILE = ["-O2", "-fno-tree-vectorize", *MACHINE, "-mfma", "-fopenmp", "-fPIC", "-c"]
CHANNELS = 256  # D at most
FEW = 1 << 15  # scores of a head: with fewer, packing takes what the kernel gains
AGREES = 1e-2  # relative error against torch in float32, where bfloat16's own is 2e-3
PATIENCE = 60.0  # seconds for the compiler

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
log = logging.getLogger(__name__)


class _Strides(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "head", "row")]

    @classmethod
    def of(cls, x: Tensor) -> _Strides:
        return cls(*x.stride()[:3])


class _Map(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("by", _Strides)]

    @classmethod
    def of(cls, x: Tensor) -> _Map:
        return cls(x.data_ptr(), _Strides.of(x))


SIZES = [ctypes.c_int64] * 5  # B, H, N, M, D
ARGUMENTS = [_Map, _Map, _Map, ctypes.c_void_p, _Strides, *SIZES, ctypes.c_float, ctypes.c_int]


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query key^T / sqrt(D)) value, (B, H, N, D), from queries of that shape and keys and values (B, H, M, D).
    Without gradients."""
    if query.dtype is not torch.bfloat16 or not _fits(query, key, value) or (by_kernel := kernel()) is None:
        return attention.attend(query, key, value)
    return by_kernel(query, key, value)


def _fits(*maps: Tensor) -> bool:
    query, key, _ = maps
    if query.shape[2] * key.shape[2] < FEW:
        return False
    return all(x.device.type == "cpu" and x.shape[3] <= CHANNELS and x.stride(3) == 1 for x in maps)


@functools.cache
def kernel() -> Attend | None:
    """Compiled, or as it was kept, and tried; None where there is none."""
    if not all(torch.cpu.get_capabilities().get(name) for name in NEEDED):
        return None
    try:
        found = _loaded(_built())
        _try(found)
    except (OSError, subprocess.SubprocessError, AttributeError, ValueError) as error:
        log.info("attention is torch's: %s", error)
        return None
    return found


def _built() -> Path:
    """The library, made now if it never was. OSError or SubprocessError where that cannot be."""
    compiler = shutil.which(os.environ.get("CC") or "gcc")
    if compiler is None:
        raise FileNotFoundError("there is no C compiler (gcc)")
    # What is kept is another's where anything differs that it was made from.
    about = "\n".join([SOURCE.read_text(), compiler, *COMPILE, torch.__version__, *_openmp()])
    made = folder() / f"attention-{hashlib.sha256(about.encode()).hexdigest()[:16]}.so"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as scratch:
            steps = Path(scratch) / "attention.o", Path(scratch) / made.name
            _call([compiler, *COMPILE, str(SOURCE), "-o", str(steps[0])])
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


def _loaded(path: Path) -> Attend:
    library = ctypes.CDLL(str(path))
    if not library.permitted():
        raise OSError("the system does not let this process use AMX")
    library.attend.argtypes = ARGUMENTS

    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, heads, queries, channels = query.shape
        out = query.new_empty(batch, queries, heads, channels).transpose(1, 2)
        sizes = (batch, heads, queries, key.shape[2], channels)
        given = (*map(_Map.of, (query, key, value)), out.data_ptr(), _Strides.of(out))
        if not library.attend(*given, *sizes, 1.0 / math.sqrt(channels), torch.get_num_threads()):
            raise MemoryError(f"no memory to pack {key.shape[2]} keys")
        return out

    return run


def _try(found: Attend) -> None:
    """ValueError where it answers something else than torch."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn((1, 2, count, 40), generator=generator).bfloat16() for count in (50, 77, 77))
    expected = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
    error = float((found(query, key, value).float() - expected).norm() / expected.norm())
    if not error < AGREES:
        raise ValueError(f"the compiled kernel is off by {error:.1e}")
