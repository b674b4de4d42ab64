"""Convolutions of 3 x 3 in bfloat16 by our own kernel (convolution.c): see kernels.py for where. It takes 4 / 9 of the
multiplications, one and a half times the rounding and 16 / 9 of the weights' memory.

B batch, C channels, O of the result, h and w the map.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.codecs import strips
from limner.engine import kernels
from limner.engine.allocator import apart, pool
from limner.store.pages import forget

STEP = 32  # what channels and results must divide by
FEWEST_SPOTS = 128  # of 2 x 2 places; fewer do not fill a block
AGREES = 1e-2  # relative error against torch in float32, where rounding once makes 2e-3
POINTS, DOUBLED_POINTS = 16, 9  # from which there is something to see

Ends = tuple[bool, bool]


class Convolve(Protocol):
    def __call__(
        self, weights: Tensor, bias: Tensor | None, x: Tensor, plus: Tensor | None = None, *,
        ends: Ends = (True, True), doubled: bool = False, out: Tensor | None = None,
    ) -> Tensor: ...  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kernel:
    order: Callable[[Tensor, bool], Tensor]
    convolve: Convolve


class _Sizes(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "batch", "height", "width", "channels", "rows", "columns", "outs", "top", "left", "doubled", "biases"
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
            self._ordered[doubled] = order(self.weight, doubled=doubled)
            forget(self.weight)
        return self._ordered[doubled]


def pays(x: Tensor, weight: Tensor, *, doubled: bool = False) -> bool:
    """Whether it can be had and is faster, for maps like `x` and kernels (O, C, 3, 3)."""
    spots = len(x) * (x.shape[2] * x.shape[3] if doubled else -(-x.shape[2] // 2) * -(-x.shape[3] // 2))
    suits = x.dtype is weight.dtype is torch.bfloat16 and x.device.type == "cpu" and weight.shape[2:] == (3, 3)
    fits = weight.shape[0] % STEP == weight.shape[1] % STEP == 0
    return suits and fits and spots >= FEWEST_SPOTS and kernel() is not None


def order(weight: Tensor, *, doubled: bool = False) -> Tensor:
    """Kernels (O, C, 3, 3) as the points see them, in the tiles in which they are read."""
    found = kernel()
    assert found is not None, "see `pays`"
    return found.order(weight, doubled)


@functools.cache
def kernel() -> Kernel | None:
    return kernels.tried("convolution", _wrap, _try)


def convolve(
    weights: Tensor, bias: Tensor | None, x: Tensor, plus: Tensor | None = None, *,
    ends: Ends = (True, True), doubled: bool = False, out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """`F.conv2d` of x (B, C, h, w), or of x with its sides doubled, with weights ordered for that and a bias (O,) or
    (B, O) or none, a column of zeros on either side and a row of them above and below where those are `ends` of the
    map, as those of a doubled one have to be. The result, in `out` if that is given, is in channels_last; `plus`, which
    may be `out`, is added to it."""
    found = kernel()
    assert found is not None, "see `pays`"
    assert all(ends) or not doubled
    return found.convolve(weights, bias, x, plus, ends=ends, doubled=doubled, out=out)


def _wrap(library: ctypes.CDLL) -> Kernel:
    library.convolve.argtypes = [*[ctypes.c_void_p] * 5, _Sizes, ctypes.c_int]
    library.order.argtypes = [*[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_int]
    library.order.restype = None

    def order(weight: Tensor, doubled: bool) -> Tensor:
        weight = weight.contiguous()
        outs, channels = weight.shape[:2]
        points = DOUBLED_POINTS if doubled else POINTS
        out = apart((points, outs // 16, channels // STEP, 16, 16, 2), weight.dtype)
        library.order(weight.data_ptr(), out.data_ptr(), outs, channels, doubled, torch.get_num_threads())
        return out

    def run(
        weights: Tensor, bias: Tensor | None, x: Tensor, plus: Tensor | None = None, *,
        ends: Ends = (True, True), doubled: bool = False, out: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        (batch, channels, *sides), outs = x.shape, 16 * weights.shape[1]
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
        biases = outs if bias.dim() == 2 else 0
        sizes = _Sizes(batch, height, width, channels, shape[2], width, outs, ends[0], 1, doubled, biases)
        if not library.convolve(*places, sizes, torch.get_num_threads()):
            raise MemoryError(f"no memory to convolve {channels} channels")
        return made if out is None or fits else out.copy_(made)

    return Kernel(order, run)


def _try(found: Kernel) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((2, 64, 5, 7), generator=generator).bfloat16()
    weight, bias = torch.randn((96, 64, 3, 3), generator=generator).bfloat16(), torch.randn(96, generator=generator)
    expected = F.conv2d(x.float(), weight.float(), bias, padding=1)
    kernels.check_error(found.convolve(found.order(weight, False), bias, x), expected, most=AGREES)
