"""Linear layers in bfloat16 by our own kernel (linear.c): see kernels.py for where.

N rows in all, C channels, O results.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.engine import kernels
from limner.engine.allocator import apart, pool

STEP = 32  # what channels and results must divide by
AGREES = 1e-2  # relative error against torch in float32, where rounding once makes 2e-3


class Apply(Protocol):
    def __call__(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, *, plus: Tensor | None = None, gated: bool = False
    ) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Kernel:
    order: Callable[[Tensor, bool], Tensor]
    apply: Apply


class _Layer(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("channels", "outs", "gated")]


class _Work(ctypes.Structure):
    _fields_ = [
        ("layer", _Layer),
        *((name, ctypes.c_void_p) for name in ("x", "weights", "plus", "bias", "to")),
        *((name, ctypes.c_int64) for name in ("rows", "ordered")),
    ]


def suits(x: Tensor, outs: int) -> bool:
    """Whether it can be had for rows like those of `x`, (..., C)."""
    fits = x.dtype is torch.bfloat16 and x.device.type == "cpu" and x.shape[-1] % STEP == outs % STEP == 0
    return fits and kernel() is not None


def order(weight: Tensor, *, gated: bool = False) -> Tensor:
    """A weight (O, C) in the tiles in which it is read fastest."""
    found = kernel()
    assert found is not None, "see `suits`"
    return found.order(weight, gated)


def apply(x: Tensor, weight: Tensor, bias: Tensor | None, *, plus: Tensor | None = None, gated: bool = False) -> Tensor:
    """x W^T + bias + plus, (..., O), of x (..., C); where it is gated, the first half of that times the GELU of the
    second, (..., O / 2). The weight is (O, C), or ordered for that; the bias (O,) in float32."""
    found = kernel()
    assert found is not None, "see `suits`"
    return found.apply(x, weight, bias, plus=plus, gated=gated)


@functools.cache
def kernel() -> Kernel | None:
    return kernels.tried("linear", _wrap, _try)


def _wrap(library: ctypes.CDLL) -> Kernel:
    library.linear.argtypes = [_Work, ctypes.c_int]
    library.order.argtypes = [ctypes.c_void_p, ctypes.c_void_p, _Layer, ctypes.c_int]
    library.order.restype = None

    def order(weight: Tensor, gated: bool) -> Tensor:
        weight = weight.contiguous()
        outs, channels = weight.shape
        out = apart((outs // 16, channels // STEP, 16, 16, 2), weight.dtype)
        library.order(weight.data_ptr(), out.data_ptr(), _Layer(channels, outs, gated), torch.get_num_threads())
        return out

    def apply(
        x: Tensor, weight: Tensor, bias: Tensor | None, *, plus: Tensor | None = None, gated: bool = False
    ) -> Tensor:
        ordered, channels = weight.dim() > 2, x.shape[-1]
        outs = weight.numel() // channels
        x, weight = x.contiguous(), weight.contiguous()
        plus = None if plus is None else plus.contiguous()
        out = pool.empty((*x.shape[:-1], outs // 2 if gated else outs), x.dtype)
        places = [None if one is None else one.data_ptr() for one in (x, weight, plus, bias, out)]
        work = _Work(_Layer(channels, outs, gated), *places, x.numel() // channels, ordered)
        if not library.linear(work, torch.get_num_threads()):
            raise MemoryError(f"no memory for a product of {channels} channels")
        return out

    return Kernel(order, apply)


def _try(found: Kernel) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator).bfloat16() for shape in ((2, 25, 64), (128, 64)))
    bias = torch.randn(128, generator=generator)
    values, gates = F.linear(x.float(), weight.float(), bias).chunk(2, dim=-1)
    for given in (weight, found.order(weight, True)):
        kernels.check_error(found.apply(x, given, bias, gated=True), values * F.gelu(gates), most=AGREES)
