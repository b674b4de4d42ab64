"""What glibc does with memory that was freed. Where there is no glibc, nothing is done."""

from __future__ import annotations

import ctypes

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


def _of_glibc(name: str) -> ctypes._FuncPointer | None:
    try:
        found: ctypes._FuncPointer = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
    return found
