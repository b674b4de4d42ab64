"""Memory that is given back before its owner is gone."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

from torch import Tensor

DONT_NEED = 4  # MADV_DONTNEED of Linux
LEAST = 1 << 18  # bytes that are worth a look


def forget(tensor: Tensor) -> None:
    """Nobody will read `tensor` again: if it is mapped from a file, its pages need not stay in memory.

    All tensors of a file share one mapping, which is there until the last of them is gone. Whoever does read them again
    has them read from the file again. Where there is no Linux nothing is done.
    """
    if tensor.device.type != "cpu" or tensor.nbytes < LEAST or not tensor.is_contiguous():
        return
    page = mmap.PAGESIZE
    start = -(-tensor.data_ptr() // page) * page  # pages at the edges have others' numbers, too
    stop = (tensor.data_ptr() + tensor.nbytes) // page * page
    if _is_of_a_file(start, stop):
        ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), DONT_NEED)


def _is_of_a_file(start: int, stop: int) -> bool:
    """Memory of no file would lose what is in it."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return False
    for line in lines:
        span, _, _, _, inode, *_ = line.split(maxsplit=5)
        low, high = (int(one, 16) for one in span.split("-"))
        if low <= start and stop <= high:
            return inode != "0"
    return False
