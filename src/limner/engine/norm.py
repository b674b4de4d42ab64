"""GroupNorm with or without a SiLU, and LayerNorm, in bfloat16 by our own kernel (norm.c): see kernels.py for where.

B batch, C channels, h and w the map, N tokens.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.engine import kernels
from limner.engine.allocator import pool

STEP = 16  # what channels must divide by


class _Sizes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "places", "channels", "groups")]


@dataclass(frozen=True, slots=True)
class Norms:
    """Weights and biases are in float32."""

    measure: Callable[[Tensor, Tensor, Tensor, int, float], Tensor]  # of (B, C, h, w), (B, 2, C); groups, epsilon
    apply: Callable[[Tensor, Tensor, bool], Tensor]  # of a map, or of some of its rows, and those factors; SiLU
    layer: Callable[[Tensor, Tensor, Tensor, float], Tensor]  # of (B, N, C); epsilon


class Norm(nn.Module):
    """Of a layer whose norm it is, and the SiLU behind it where there is one. It only draws."""

    kernels = False

    def __init__(self, layer: nn.Module, *, activated: bool = False) -> None:
        super().__init__()
        assert isinstance(layer, nn.GroupNorm | nn.LayerNorm)
        self.layer, self.activated = layer, activated
        self._wide: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if (norms := self._norms(x)) is None:
            out: Tensor = self.layer(x)
            return F.silu(out, inplace=True) if self.activated else out
        if self._wide is None:
            self._wide = self.layer.weight.detach().float(), self.layer.bias.detach().float()
        if isinstance(self.layer, nn.LayerNorm):
            return norms.layer(x, *self._wide, self.layer.eps)
        factors = norms.measure(x, *self._wide, self.layer.num_groups, self.layer.eps)
        return norms.apply(x, factors, self.activated)

    def _norms(self, x: Tensor) -> Norms | None:
        return _for(x, len(self.layer.weight)) if self.kernels else None


class QuickNorm(nn.GroupNorm):
    """One whose strips go by the kernel, a SiLU behind it. It only draws."""

    def __init__(self, layer: nn.GroupNorm) -> None:
        super().__init__(layer.num_groups, layer.num_channels, eps=layer.eps, device="meta")
        self.weight, self.bias = layer.weight, layer.bias

    def way(self, x: Tensor) -> Callable[[Tensor], Tensor] | None:
        """See codecs/strips.py."""
        if torch.is_grad_enabled() or (norms := _for(x, self.num_channels)) is None:
            return None
        factors = norms.measure(x, self.weight.float(), self.bias.float(), self.num_groups, self.eps)
        return lambda strip: norms.apply(strip, factors, True)


def _for(x: Tensor, channels: int) -> Norms | None:
    suits = x.dtype is torch.bfloat16 and x.device.type == "cpu" and channels % STEP == 0
    return kernel() if suits else None


@functools.cache
def kernel() -> Norms | None:
    return kernels.tried("norm", torch.bfloat16, _wrap, _try)


def _wrap(library: ctypes.CDLL) -> Norms:
    pointers = [ctypes.c_void_p] * 4
    library.measure.argtypes = [*pointers, _Sizes, ctypes.c_float, ctypes.c_int]
    library.apply.argtypes = [*pointers[:3], _Sizes, ctypes.c_int, ctypes.c_int]
    library.apply.restype = None
    library.layer_norm.argtypes = [*pointers, ctypes.c_int64, ctypes.c_int64, ctypes.c_float, ctypes.c_int]
    library.layer_norm.restype = None

    def measure(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.shape
        out = torch.empty(batch, 2, channels)
        given = (one.data_ptr() for one in (x, weight, bias, out))
        if not library.measure(*given, _Sizes(batch, height * width, channels, groups), eps, torch.get_num_threads()):
            raise MemoryError(f"no memory to normalise {channels} channels")
        return out

    def apply(x: Tensor, factors: Tensor, activated: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        out = pool.empty_channels_last(x.shape, x.dtype)
        batch, channels, height, width = x.shape
        given = (one.data_ptr() for one in (x, factors, out))
        library.apply(*given, _Sizes(batch, height * width, channels), activated, torch.get_num_threads())
        return out

    def layer(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        out = pool.empty(x.shape, x.dtype)
        channels = x.shape[-1]
        given = (one.data_ptr() for one in (x, weight, bias, out))
        library.layer_norm(*given, x.numel() // channels, channels, eps, torch.get_num_threads())
        return out

    return Norms(measure, apply, layer)


def _try(found: Norms) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 3.0 + torch.randn((2, 32, 5, 7), generator=generator).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(2, 32, generator=generator)
    narrow = x.bfloat16()
    expected = F.silu(F.group_norm(narrow.float(), 4, weight, bias, 1e-5))
    made = found.apply(narrow, found.measure(narrow, weight, bias, 4, 1e-5), True)
    kernels.check_error(made, expected)
    rows = narrow.flatten(2).transpose(1, 2)
    expected = F.layer_norm(rows.float(), (32,), weight, bias, 1e-5)
    kernels.check_error(found.layer(rows, weight, bias, 1e-5), expected)
