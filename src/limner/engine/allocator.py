"""Where memory comes from: what glibc does with what was freed, if there is a glibc, and what does not come from it."""

from __future__ import annotations

import ctypes
import math
import mmap
import weakref
from collections import defaultdict

import torch
from torch import Tensor

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8  # malloc.h
LEAST, MOST = 1 << 16, 1 << 26  # bytes of what a pool is for: less is malloc's, and of more there is no waste


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
    """An empty tensor for what is kept for long, outside of glibc's memory. It is returned as soon
    as it is freed."""
    return _laid_in(_mapped(math.prod(shape) * dtype.itemsize), shape, dtype)


class Pool:
    """Memory of maps that are made and dropped at each step: the next of about that size takes it over.

    glibc cannot: torch asks for addresses that divide by 64, by a little more room than that, so that what one map left
    is too small for its like. Its memory grew to nine times what was in use, and was searched for each map.
    """

    def __init__(self) -> None:
        self._left: defaultdict[int, list[mmap.mmap]] = defaultdict(list)  # by size

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A tensor of anything. Of a power of two of bytes only those that are touched are there."""
        bytes = math.prod(shape) * dtype.itemsize
        if not LEAST <= bytes <= MOST:
            return torch.empty(shape, dtype=dtype)
        left = self._left[1 << (bytes - 1).bit_length()]
        try:
            memory = left.pop()
        except IndexError:
            memory = _mapped(1 << (bytes - 1).bit_length())
        held = memoryview(memory)  # by the tensor and all views of it
        weakref.finalize(held, left.append, memory).atexit = False
        return _laid_in(held, shape, dtype)

    def empty_channels_last(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        batch, channels, height, width = shape
        return self.empty((batch, height, width, channels), dtype).permute(0, 3, 1, 2)

    def clear(self) -> None:
        """Return what nobody holds."""
        for left in self._left.values():
            left.clear()


pool = Pool()


def _mapped(bytes: int) -> mmap.mmap:
    return mmap.mmap(-1, max(bytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _laid_in(memory: mmap.mmap | memoryview, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(memory, dtype=dtype, count=math.prod(shape)).view(shape)


def _of_glibc(name: str) -> ctypes._FuncPointer | None:
    try:
        found: ctypes._FuncPointer = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
    return found
