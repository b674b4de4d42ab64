"""Linear layers by our own kernels, in bfloat16 (linear.c) and float32 (linear_float32.c): see kernels.py for where.

N rows in all, C channels, O results.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.engine import kernels
from limner.engine.allocator import apart, pool

STEP = 32  # what channels and results must divide by


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
        *((name, ctypes.c_int64) for name in ("rows", "ordered", "kind")),
    ]


def suits(x: Tensor, channels: int, outs: int, *, weights: torch.dtype) -> bool:
    """Whether it can be had for rows of so many channels, of the type of `x`, and weights of another."""
    fits = channels % STEP == outs % STEP == 0 and kernels.takes(x, weights)
    return fits and kernel(x.dtype) is not None


def order(weight: Tensor, dtype: torch.dtype, *, gated: bool = False) -> Tensor:
    """A weight (O, C) in the order in which it is read fastest for maps of a type; it has a dimension more."""
    found = kernel(dtype)
    assert found is not None, "see `suits`"
    return found.order(weight, gated)


def apply(x: Tensor, weight: Tensor, bias: Tensor | None, *, plus: Tensor | None = None, gated: bool = False) -> Tensor:
    """x W^T + bias + plus, (..., O), of x (..., C); where it is gated, the first half of that times the GELU of the
    second, (..., O / 2). The weight is (O, C), or ordered for that; the bias (O,) in float32."""
    found = kernel(x.dtype)
    assert found is not None, "see `suits`"
    return found.apply(x, weight, bias, plus=plus, gated=gated)


@functools.cache
def kernel(dtype: torch.dtype) -> Kernel | None:
    return kernels.tried("linear", dtype, partial(_wrap, kernels.KINDS[dtype]), partial(_try, dtype))


def _wrap(kind: kernels.Kind, library: ctypes.CDLL) -> Kernel:
    library.linear.argtypes = [_Work, ctypes.c_int]
    library.order.argtypes = [ctypes.c_void_p, ctypes.c_void_p, _Layer, ctypes.c_int64, ctypes.c_int]
    library.order.restype = None

    def order(weight: Tensor, gated: bool) -> Tensor:
        weight = weight.contiguous()
        outs, channels = weight.shape
        out = apart((outs // STEP, channels, STEP), weight.dtype)
        layer, bytes = _Layer(channels, outs, gated), weight.element_size()
        library.order(weight.data_ptr(), out.data_ptr(), layer, bytes, torch.get_num_threads())
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
        numbers = x.numel() // channels, ordered, kind.weights.index(weight.dtype)
        work = _Work(_Layer(channels, outs, gated), *places, *numbers)
        if not library.linear(work, torch.get_num_threads()):
            raise MemoryError(f"no memory for a product of {channels} channels")
        return out

    return Kernel(order, apply)


def _try(dtype: torch.dtype, found: Kernel) -> None:
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator).to(dtype) for shape in ((2, 25, 64), (128, 64)))
    bias = torch.randn(128, generator=generator)
    values, gates = F.linear(x.float(), weight.float(), bias).chunk(2, dim=-1)
    for given in (weight, found.order(weight, True)):
        kernels.check_error(found.apply(x, given, bias, gated=True), values * F.gelu(gates))
