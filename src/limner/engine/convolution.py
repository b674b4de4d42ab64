"""Convolutions of 3 x 3 by our own kernels: see kernels.py for where.

In bfloat16 (convolution.c) it takes 4 / 9 of the multiplications, one and a half times the rounding and 16 / 9 of the
weights' memory; in float32 (convolution_float32.c) a quarter of them and one of seven digits.

B batch, C channels, O of the result, h and w the map.
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
from torch import Tensor, nn

from limner.codecs import strips
from limner.engine import kernels
from limner.engine.allocator import apart, pool
from limner.store.pages import forget

STEP = 32  # what channels and results must divide by
Ends = tuple[bool, bool]


class Convolve(Protocol):
    def __call__(
        self, weights: Tensor, bias: Tensor | None, x: Tensor, plus: Tensor | None = None, *,
        ends: Ends = (True, True), doubled: bool = False, out: Tensor | None = None,
    ) -> Tensor: ...  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spots:
    """Of what the kernel for a type of numbers makes its maps."""

    side: int  # places
    fewest: int  # fewer do not pay
    kept: int  # numbers of each weight of 3 x 3
    kept_doubled: int  # where the map is doubled

    def count(self, x: Tensor, *, doubled: bool) -> int:
        height, width = (side * (2 if doubled else 1) for side in x.shape[2:])
        return len(x) * -(-height // self.side) * -(-width // self.side)

    def kept_of(self, *, doubled: bool) -> int:
        return self.kept_doubled if doubled else self.kept


SPOTS = {torch.bfloat16: Spots(2, 128, 16, 9), torch.float32: Spots(4, 8, 9, 9)}


@dataclass(frozen=True, slots=True)
class Kernel:
    order: Callable[[Tensor, bool], Tensor]
    convolve: Convolve


class _Sizes(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "batch", "height", "width", "channels", "rows", "columns", "outs", "top", "left", "doubled", "biases",
            "kind",
        )
    ]  # fmt: skip


class QuickConvolution(nn.Conv2d):
    """A convolution of 3 x 3 that goes by the kernel where that pays. It only draws."""

    def __init__(self, layer: nn.Conv2d) -> None:
        """With the weights of `layer`, padded by one."""
        super().__init__(layer.in_channels, layer.out_channels, 3, padding=1, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self._wide = None if layer.bias is None else layer.bias.detach().float()
        self._ordered: dict[bool, Tensor] = {}  # by whether the map is doubled

    def forward(self, x: Tensor) -> Tensor:
        ordered = self._ordered_for(x)
        out: Tensor = super().forward(x) if ordered is None else convolve(ordered, self._wide, x)
        return out

    def way(self, x: Tensor) -> strips.Convolve | None:
        """See codecs/strips.py."""
        if (ordered := self._ordered_for(x)) is None:
            return None

        def run(strip: Tensor, ends: Ends, out: Tensor, *, add: bool) -> None:
            convolve(ordered, self._wide, strip, out if add else None, ends=ends, out=out)

        return run

    def doubled(self, x: Tensor) -> Tensor | None:
        """See codecs/strips.py."""
        ordered = self._ordered_for(x, doubled=True)
        return None if ordered is None else convolve(ordered, self._wide, x, doubled=True)

    def _ordered_for(self, x: Tensor, *, doubled: bool = False) -> Tensor | None:
        if torch.is_grad_enabled() or not pays(x, self.weight, doubled=doubled):
            return None
        if doubled not in self._ordered:
            self._ordered[doubled] = order(self.weight, x.dtype, doubled=doubled)
            forget(self.weight)
        return self._ordered[doubled]


def pays(x: Tensor, weight: Tensor, *, doubled: bool = False) -> bool:
    """Whether it can be had and is faster, for maps like `x` and kernels (O, C, 3, 3)."""
    fits = weight.shape[2:] == (3, 3) and weight.shape[0] % STEP == weight.shape[1] % STEP == 0
    if not fits or not kernels.takes(x, weight.dtype):
        return False
    spots = SPOTS[x.dtype]
    return spots.count(x, doubled=doubled) >= spots.fewest and kernel(x.dtype) is not None


def order(weight: Tensor, dtype: torch.dtype, *, doubled: bool = False) -> Tensor:
    """Kernels (O, C, 3, 3) in the order in which they are read for maps of a type, in bfloat16 as the points see
    them."""
    found = kernel(dtype)
    assert found is not None, "see `pays`"
    return found.order(weight, doubled)


@functools.cache
def kernel(dtype: torch.dtype) -> Kernel | None:
    return kernels.tried("convolution", dtype, partial(_wrap, dtype), partial(_try, dtype))


def convolve(
    weights: Tensor, bias: Tensor | None, x: Tensor, plus: Tensor | None = None, *,
    ends: Ends = (True, True), doubled: bool = False, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`F.conv2d` of x (B, C, h, w), or of x with its sides doubled, with weights ordered for that and a bias (O,) or
    (B, O) or none, a column of zeros on either side and a row of them above and below where those are `ends` of the
    map, as those of a doubled one have to be. The result, in `out` if that is given, is in channels_last; `plus`, which
    may be `out`, is added to it."""
    found = kernel(x.dtype)
    assert found is not None, "see `pays`"
    assert all(ends) or not doubled
    return found.convolve(weights, bias, x, plus, ends=ends, doubled=doubled, out=out)


def _wrap(dtype: torch.dtype, library: ctypes.CDLL) -> Kernel:
    spots, kind = SPOTS[dtype], kernels.KINDS[dtype]
    library.convolve.argtypes = [*[ctypes.c_void_p] * 5, _Sizes, ctypes.c_int]
    library.order.argtypes = [*[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 4, ctypes.c_int]
    library.order.restype = None

    def order(weight: Tensor, doubled: bool) -> Tensor:
        weight = weight.contiguous()
        outs, channels = weight.shape[:2]
        out = apart((spots.kept_of(doubled=doubled) * outs * channels,), weight.dtype)
        sizes = outs, channels, doubled, weight.element_size()
        library.order(weight.data_ptr(), out.data_ptr(), *sizes, torch.get_num_threads())
        return out

    def run(
        weights: Tensor, bias: Tensor | None, x: Tensor, plus: Tensor | None = None, *,
        ends: Ends = (True, True), doubled: bool = False, out: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        batch, channels, *sides = x.shape
        outs = len(weights) // (spots.kept_of(doubled=doubled) * channels)
        bias = torch.zeros(outs) if bias is None else bias.float().contiguous()
        height, width = (side * (2 if doubled else 1) for side in sides)
        shape = (batch, outs, height - 2 + sum(ends), width)
        fits = out is not None and out.is_contiguous(memory_format=torch.channels_last)
        made = out if fits else pool.empty_channels_last(shape, x.dtype)
        assert made is not None
        assert made.shape == shape
        x = x.contiguous(memory_format=torch.channels_last)
        plus = None if plus is None else plus.contiguous(memory_format=torch.channels_last)
        places = [None if one is None else one.data_ptr() for one in (x, weights, bias, plus, made)]
        biases, number = outs if bias.dim() == 2 else 0, kind.weights.index(weights.dtype)
        sizes = _Sizes(batch, height, width, channels, shape[2], width, outs, ends[0], 1, doubled, biases, number)
        if not library.convolve(*places, sizes, torch.get_num_threads()):
            raise MemoryError(f"no memory to convolve {channels} channels")
        return made if out is None or fits else out.copy_(made)

    return Kernel(order, run)


def _try(dtype: torch.dtype, found: Kernel) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((2, 64, 5, 7), generator=generator).to(dtype)
    weight, bias = torch.randn((96, 64, 3, 3), generator=generator).to(dtype), torch.randn(96, generator=generator)
    expected = F.conv2d(x.float(), weight.float(), bias, padding=1)
    kernels.check_error(found.convolve(found.order(weight, False), bias, x), expected)
