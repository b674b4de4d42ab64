"""Attention by our own kernels, in bfloat16 (attention.c) and float32 (attention_float32.c): see kernels.py for where.

torch's own spends most of its time in exponentials. Without a kernel, or where it does not do what it should, torch's
is taken.

B batch, H heads, N queries, M keys, D channels of a head.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.engine import kernels
from limner.engine.allocator import pool
from limner.nn import attention

CHANNELS = {torch.bfloat16: 512, torch.float32: 160}  # D at most; with more, torch is as fast in float32

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


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
    if not _fits(query, key, value) or (by_kernel := kernel(query.dtype)) is None:
        return attention.attend(query, key, value)
    return by_kernel(query, key, value)


def _fits(*maps: Tensor) -> bool:
    dtype, most = maps[0].dtype, CHANNELS.get(maps[0].dtype, 0)
    alike = all(x.dtype is dtype and x.device.type == "cpu" for x in maps)
    return alike and all(x.shape[3] <= most and x.stride(3) == 1 for x in maps)


@functools.cache
def kernel(dtype: torch.dtype) -> Attend | None:
    return kernels.tried("attention", dtype, _wrap, partial(_try, dtype))


def _wrap(library: ctypes.CDLL) -> Attend:
    library.attend.argtypes = ARGUMENTS

    def run(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        batch, heads, queries, channels = query.shape
        out = pool.empty((batch, queries, heads, channels), query.dtype).transpose(1, 2)
        sizes = (batch, heads, queries, key.shape[2], channels)
        given = (*map(_Map.of, (query, key, value)), out.data_ptr(), _Strides.of(out))
        if not library.attend(*given, *sizes, 1.0 / math.sqrt(channels), torch.get_num_threads()):
            raise MemoryError(f"no memory to pack {key.shape[2]} keys")
        return out

    return run


def _try(dtype: torch.dtype, found: Attend) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn((1, 2, count, 40), generator=generator).to(dtype) for count in (50, 77, 77))
    expected = F.scaled_dot_product_attention(query.float(), key.float(), value.float())
    kernels.check_error(found(query, key, value), expected)
