"""Where memory comes from: what glibc does with what was freed, if there is a glibc, and what does not come from it."""

from __future__ import annotations

import ctypes
import math
import mmap

import torch
from torch import Tensor

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8  # malloc.h


def keep_memory() -> bool:
    """Keep it instead of returning it, as large buffers are used again at the next step; whether that could be done.

    By default each is mapped anew, and the kernel zeroes it page by page. A setting of the whole process, to be made
    before the first large tensor: for programs, not for libraries.
    """
    if (mallopt := _of_glibc("mallopt")) is None:
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 64 << 20), (M_ARENA_MAX, 1))
    done = [mallopt(name, value) == 1 for name, value in settings]
    return all(done)


def trim() -> None:
    """Return once what was freed so far."""
    if (malloc_trim := _of_glibc("malloc_trim")) is not None:
        malloc_trim(0)


def apart(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """An empty tensor for what is kept for long: outside of glibc's memory, which it would leave full of holes to be
    searched for each new map, and in huge pages where the system gives them. It is returned as soon as it is freed."""
    memory = mmap.mmap(-1, max(math.prod(shape) * dtype.itemsize, 1))
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype, count=math.prod(shape)).view(shape)


def _of_glibc(name: str) -> ctypes._FuncPointer | None:
    try:
        found: ctypes._FuncPointer = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
    return found
