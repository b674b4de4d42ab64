"""Convolutions of 3 x 3 in bfloat16 by our own kernel (convolution.c), where the processor has AMX and the machine a
compiler: 4 / 9 of the multiplications, for one and a half times the rounding and 16 / 9 of the weights' memory.

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

from limner.engine import kernels
from limner.store.pages import forget

STEP = 32  # what channels and results must divide by
FEWEST_SPOTS = 128  # of 2 x 2 places; fewer do not fill a block
AGREES = 1e-2  # relative error against torch in float32, where rounding once makes 2e-3
POINTS, DOUBLED_POINTS = 16, 9  # from which there is something to see

Padding = tuple[int, int]


class Convolve(Protocol):
    def __call__(
        self, weights: Tensor, bias: Tensor | None, x: Tensor, plus: Tensor | None = None, *,
        padding: Padding = (1, 1), doubled: bool = False,
    ) -> Tensor: ...  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kernel:
    order: Callable[[Tensor, bool], Tensor]
    convolve: Convolve


class _Sizes(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("batch", "height", "width", "channels", "rows", "columns", "outs", "top", "left", "doubled")
    ]


class QuickConvolution(nn.Conv2d):
    """A convolution of 3 x 3 that goes by the kernel where that pays. It only draws."""

    def __init__(self, layer: nn.Conv2d) -> None:
        """With the weights of `layer`, padded by one."""
        super().__init__(layer.in_channels, layer.out_channels, 3, padding=1, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self._ordered: dict[bool, Tensor] = {}  # by whether the map is doubled

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = super().forward(x) if (way := self.way(x, padding=(1, 1))) is None else way(x)
        return out

    def way(self, x: Tensor, *, padding: Padding, doubled: bool = False) -> Callable[[Tensor], Tensor] | None:
        """See codecs/strips.py."""
        if torch.is_grad_enabled() or not pays(x, self.weight, doubled=doubled):
            return None
        if doubled not in self._ordered:
            self._ordered[doubled] = order(self.weight, doubled=doubled)
            forget(self.weight)
        return partial(convolve, self._ordered[doubled], self.bias, padding=padding, doubled=doubled)


def quicken(network: nn.Module) -> None:
    """Replace the layers for which there may be a quicker way."""
    for name, child in network.named_children():
        if type(child) is nn.Conv2d and _is_usual(child):
            setattr(network, name, QuickConvolution(child))
        else:
            quicken(child)


def _is_usual(layer: nn.Conv2d) -> bool:
    sides = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return sides == ((3, 3), (1, 1), (1, 1), (1, 1)) and layer.groups == 1 and layer.padding_mode == "zeros"


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
    padding: Padding = (1, 1), doubled: bool = False,
) -> Tensor:  # fmt: skip
    """`F.conv2d` of x (B, C, h, w), or of x with its sides doubled, with weights ordered for that and a bias (O,) or
    none. The result is in channels_last; `plus` is added to it."""
    found = kernel()
    assert found is not None, "see `pays`"
    return found.convolve(weights, bias, x, plus, padding=padding, doubled=doubled)


def _wrap(library: ctypes.CDLL) -> Kernel:
    library.convolve.argtypes = [*[ctypes.c_void_p] * 5, _Sizes, ctypes.c_int]
    library.order.argtypes = [*[ctypes.c_void_p] * 2, *[ctypes.c_int64] * 3, ctypes.c_int]
    library.order.restype = None

    def order(weight: Tensor, doubled: bool) -> Tensor:
        weight = weight.contiguous()
        outs, channels = weight.shape[:2]
        out = weight.new_empty(DOUBLED_POINTS if doubled else POINTS, outs // 16, channels // STEP, 16, 16, 2)
        library.order(weight.data_ptr(), out.data_ptr(), outs, channels, doubled, torch.get_num_threads())
        return out

    def run(
        weights: Tensor, bias: Tensor | None, x: Tensor, plus: Tensor | None = None, *,
        padding: Padding = (1, 1), doubled: bool = False,
    ) -> Tensor:  # fmt: skip
        (batch, channels, *sides), outs = x.shape, 16 * weights.shape[1]
        bias = torch.zeros(outs) if bias is None else bias.float().contiguous()
        read = [side * (2 if doubled else 1) for side in sides]
        made = [side - 2 + 2 * edge for side, edge in zip(read, padding, strict=True)]
        out = torch.empty((batch, outs, *made), dtype=x.dtype, memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
        plus = None if plus is None else plus.contiguous(memory_format=torch.channels_last)
        places = [None if one is None else one.data_ptr() for one in (x, weights, bias, plus, out)]
        sizes = _Sizes(batch, *read, channels, *made, outs, *padding, doubled)
        if not library.convolve(*places, sizes, torch.get_num_threads()):
            raise MemoryError(f"no memory to convolve {channels} channels")
        return out

    return Kernel(order, run)


def _try(found: Kernel) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((2, 64, 5, 7), generator=generator).bfloat16()
    weight, bias = torch.randn((96, 64, 3, 3), generator=generator).bfloat16(), torch.randn(96, generator=generator)
    expected = F.conv2d(x.float(), weight.float(), bias, padding=1)
    kernels.check_error(found.convolve(found.order(weight, False), bias, x), expected, most=AGREES)
