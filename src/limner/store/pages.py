"""Memory that is given back before its owner is gone."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

from torch import Tensor

DONT_NEED = 4  # MADV_DONTNEED of Linux
LEAST = 1 << 18  # bytes that are worth a look


class Pages:
    """Those of `tensors` that are mapped from files, whole ones alone; without Linux there are none.

    All tensors of a file share one mapping, which is there until the last of them is gone. Whoever reads forgotten ones
    has them read from the file again.
    """

    def __init__(self, *tensors: Tensor) -> None:
        spans = [span for one in tensors if (span := _whole(one)) is not None]
        files = _files() if spans else []
        self._spans = [(a, b) for a, b in spans if any(low <= a and b <= high for low, high in files)]
        self.all_mapped = len(self._spans) == len(tensors)

    def forget(self) -> None:
        """They need not stay in memory."""
        for start, stop in self._spans:
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), DONT_NEED)


def forget(*tensors: Tensor) -> None:
    """Nobody will read `tensors` for a while."""
    Pages(*tensors).forget()


def _whole(tensor: Tensor) -> tuple[int, int] | None:
    """Where its whole pages lie: those at the edges have others' numbers, too."""
    if tensor.device.type != "cpu" or tensor.nbytes < LEAST or not tensor.is_contiguous():
        return None
    page = mmap.PAGESIZE
    return -(-tensor.data_ptr() // page) * page, (tensor.data_ptr() + tensor.nbytes) // page * page


def _files() -> list[tuple[int, int]]:
    """Where files are mapped: memory of no file would lose what is in it."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    found = [line.split(maxsplit=5) for line in lines]
    spans = [span.split("-") for span, _, _, _, inode, *_ in found if inode != "0"]
    return [(int(low, 16), int(high, 16)) for low, high in spans]
