"""GroupNorm with or without a SiLU, and LayerNorm, in bfloat16 by our own kernel (norm.c), where the processor has
AMX and the machine a compiler.

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

STEP = 16  # what channels must divide by
AGREES = 1e-2  # relative error against torch in float32, where rounding once makes 2e-3


class _Sizes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "places", "channels", "groups")]


@dataclass(frozen=True, slots=True)
class Norms:
    """Both take weights and biases in float32."""

    group: Callable[[Tensor, Tensor, Tensor, int, float, bool], Tensor]  # of (B, C, h, w); groups, epsilon, SiLU
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
        return norms.group(x, *self._wide, self.layer.num_groups, self.layer.eps, self.activated)

    def _norms(self, x: Tensor) -> Norms | None:
        suits = self.kernels and x.dtype is torch.bfloat16 and len(self.layer.weight) % STEP == 0
        return kernel() if suits else None


@functools.cache
def kernel() -> Norms | None:
    return kernels.tried("norm", _wrap, _try)


def _wrap(library: ctypes.CDLL) -> Norms:
    pointers = [ctypes.c_void_p] * 4
    library.group_norm.argtypes = [*pointers, _Sizes, ctypes.c_float, ctypes.c_int, ctypes.c_int]
    library.layer_norm.argtypes = [*pointers, ctypes.c_int64, ctypes.c_int64, ctypes.c_float, ctypes.c_int]
    library.layer_norm.restype = None

    def group(x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, activated: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(x)
        batch, channels, height, width = x.shape
        sizes = _Sizes(batch, height * width, channels, groups)
        given = (one.data_ptr() for one in (x, weight, bias, out))
        if not library.group_norm(*given, sizes, eps, activated, torch.get_num_threads()):
            raise MemoryError(f"no memory to normalise {channels} channels")
        return out

    def layer(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        out = torch.empty_like(x)
        channels = x.shape[-1]
        given = (one.data_ptr() for one in (x, weight, bias, out))
        library.layer_norm(*given, x.numel() // channels, channels, eps, torch.get_num_threads())
        return out

    return Norms(group, layer)


def _try(found: Norms) -> None:
    generator = torch.Generator().manual_seed(0)
    x = 3.0 + torch.randn((2, 32, 5, 7), generator=generator).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(2, 32, generator=generator)
    narrow = x.bfloat16()
    expected = F.silu(F.group_norm(narrow.float(), 4, weight, bias, 1e-5))
    kernels.check_error(found.group(narrow, weight, bias, 4, 1e-5, True), expected, most=AGREES)
    rows = narrow.flatten(2).transpose(1, 2)
    expected = F.layer_norm(rows.float(), (32,), weight, bias, 1e-5)
    kernels.check_error(found.layer(rows, weight, bias, 1e-5), expected, most=AGREES)
