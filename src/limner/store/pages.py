"""Memory that is given back before its owner is gone."""

from __future__ import annotations

import ctypes
import functools
import mmap
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

DONT_NEED = 4  # MADV_DONTNEED of Linux
LEAST = 1 << 18  # bytes that are worth a look

Spans = Sequence[tuple[int, int]]  # of addresses


class Pages:
    """Those of `tensors` that are mapped from files, whole ones alone; without Linux there are none.

    All tensors of a file share one mapping, which is there until the last of them is gone. Whoever reads forgotten ones
    has them read from the file again. `mapped` is what `mappings` found, for who asks often.
    """

    def __init__(self, *tensors: Tensor, mapped: Spans | None = None) -> None:
        spans = [span for one in tensors if (span := _whole(one)) is not None]
        if mapped is None:
            mapped = mappings() if spans else []
        self._spans = [(a, b) for a, b in spans if any(low <= a and b <= high for low, high in mapped)]
        self.all_mapped = len(self._spans) == len(tensors)

    def forget(self) -> None:
        """They need not stay in memory."""
        for start, stop in self._spans:
            _madvise()(start, stop - start, DONT_NEED)


def forget(*tensors: Tensor, mapped: Spans | None = None) -> None:
    """Nobody will read `tensors` for a while. See `Pages`."""
    Pages(*tensors, mapped=mapped).forget()


def mappings() -> Spans:
    """Where files are mapped: memory of no file would lose what is in it. Finding out takes a millisecond or two; it
    stays true of tensors that were there before, as long as they are."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    found = [line.split(maxsplit=5) for line in lines]
    spans = [span.split("-") for span, _, _, _, inode, *_ in found if inode != "0"]
    return [(int(low, 16), int(high, 16)) for low, high in spans]


def _whole(tensor: Tensor) -> tuple[int, int] | None:
    """Where its whole pages lie: those at the edges have others' numbers, too."""
    if tensor.device.type != "cpu" or tensor.nbytes < LEAST or not tensor.is_contiguous():
        return None
    page = mmap.PAGESIZE
    return -(-tensor.data_ptr() // page) * page, (tensor.data_ptr() + tensor.nbytes) // page * page


@functools.cache
def _madvise() -> Callable[[int, int, int], int]:
    found = ctypes.CDLL(None).madvise
    found.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return found
