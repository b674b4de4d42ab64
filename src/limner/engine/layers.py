"""Layers on a CPU whose weights lie as they are read, for drawing alone: see packed.py for the network they make.

Where there are few places and the weights lie in a file that is mapped, they are read from there each time, as they
are. Convolutions of 3 x 3 are Winograd's where that pays: by our own kernels, or in float32 by nn/winograd.py.

B batch, C channels, O of the result, h and w the grid, N its places.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from limner.codecs import strips
from limner.engine import convolution, linear
from limner.engine.source import Source
from limner.nn import winograd
from limner.nn.residual import Upsample

Run = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]  # of a map, what is added, and a shift: see Convolution

PLAIN = ([1, 1], [1, 1], [1, 1], 1)  # padding, stride, dilation and groups of most convolutions of 3 x 3
AS_READ, IN_RUNS = -1, 3  # where an unfolded convolution has its taps: behind channels, as its weight; before them
FEW = 256  # places: with fewer, laying weights out takes as long as using them, and so it may as well be done each time


class Layer(nn.Module):
    """Weights, laid out by `prepare` for the first map that is seen."""

    kernels = False

    def __init__(self, source: Source, bias: Tensor | None) -> None:
        super().__init__()
        self.source, self.bias = source, None if bias is None else bias.detach()
        self.wide = None if bias is None else bias.detach().float()  # as our own kernels take it
        self.ready: Any = None

    def prepared(self, x: Tensor) -> Any:
        if self.ready is None:
            self.ready = self.prepare(x)
            self.source.let_go()
        return self.ready

    def prepare(self, x: Tensor) -> Any:
        raise NotImplementedError

    def rest(self) -> None:
        if self.source.lasting:
            self.ready = None


class Linear(Layer):
    """x W^T + bias, and then the sum with another map of the result's shape."""

    gated = False

    def __init__(self, *weights: Tensor, bias: Tensor | None = None) -> None:
        """Of several `weights` (O, C) the results follow one another."""
        super().__init__(Source(*weights), bias)
        self.outs = sum(len(weight) for weight in weights)

    @staticmethod
    def of(layer: nn.Module) -> Linear:
        """Of a linear layer, or of a 1 x 1 convolution over tokens."""
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        return Linear(layer.weight.flatten(1), bias=layer.bias)

    def forward(self, x: Tensor, plus: Tensor | None = None) -> Tensor:
        few = self.source.lasting and _places(x) < FEW
        weight = self.source.read() if few else self.prepared(x)
        if self._suits_kernel(x):
            out = linear.apply(x, weight, self.wide, plus=plus, gated=self.gated)
        else:
            out = self._by_onednn(x, weight.to(x.dtype) if few else weight, plus)
        if few:
            self.source.let_go()
        return out

    def prepare(self, x: Tensor) -> Any:
        weight = self.source.read().contiguous()
        if self._suits_kernel(x):
            return linear.order(weight, x.dtype, gated=self.gated)
        return self._for_onednn(x, weight.to(x.dtype))

    def _suits_kernel(self, x: Tensor) -> bool:
        return self.kernels and linear.suits(x, x.shape[-1], self.outs, weights=self.source.dtype)

    def _for_onednn(self, x: Tensor, weight: Tensor) -> Any:
        return _pack(weight, x)

    def _by_onednn(self, x: Tensor, weight: Any, plus: Tensor | None) -> Tensor:
        return _product(x, weight, self.bias, plus)


class Gated(Linear):
    """Half of x W^T + bias times the GELU of the other half (GEGLU)."""

    gated = True

    def _for_onednn(self, x: Tensor, weight: Tensor) -> Any:
        return [_pack(half, x) for half in weight.chunk(2)]

    def _by_onednn(self, x: Tensor, weight: Any, plus: Tensor | None) -> Tensor:
        assert self.bias is not None
        assert plus is None
        values, gates = weight.chunk(2) if isinstance(weight, Tensor) else weight
        bias, gates_bias = self.bias.chunk(2)
        gate = torch.ops.mkldnn._linear_pointwise.default(x, gates, gates_bias, "gelu", [], "none")
        out: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, gate, values, bias, "mul")
        return out


def _product(x: Tensor, weight: Tensor, bias: Tensor | None, plus: Tensor | None = None) -> Tensor:
    if plus is None:
        out: Tensor = torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")
    else:
        out = torch.ops.mkldnn._linear_pointwise.binary(x, plus, weight, bias, "add")
    return out


def _pack(weight: Tensor, x: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, _places(x))
    return packed


def _places(x: Tensor) -> int:
    return x.numel() // x.shape[-1]


def _then_shifted(way: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A way to convolve, for which a shift is a pass of its own."""

    @functools.wraps(way)
    def run(*given: Any) -> Tensor:
        *own, shift = given
        out = way(*own)
        return out if shift is None else out.add_(shift[:, :, None, None])

    return run


class Convolution(Layer):
    """Whether it is Winograd's, or a product of what its windows see, is decided by the first map that it sees."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, padding: int, stride: int = 1) -> None:
        super().__init__(Source(weight), bias)
        self.outs, self.side = len(weight), weight.shape[2]
        self.sizes = ([padding] * 2, [stride] * 2, [1, 1], 1)  # dilation and groups at the end

    @staticmethod
    def of(layer: nn.Conv2d) -> Convolution:
        assert (layer.dilation, layer.groups) == ((1, 1), 1)
        return Convolution(layer.weight, layer.bias, padding=int(layer.padding[0]), stride=layer.stride[0])

    def forward(self, x: Tensor, plus: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """`plus`, of the result's shape, is added to it, and `shift` (B, O) everywhere."""
        if self.source.lasting and self._is_small(x):
            out = self._unfolded(AS_READ, self.source.read().flatten(1), x, plus, shift)
            self.source.let_go()
            return out
        run: Run = self.prepared(x)
        return run(x, plus, shift)

    def _is_small(self, x: Tensor) -> bool:
        return len(x) * x.shape[2] * x.shape[3] < FEW * math.prod(self.sizes[1])

    @_then_shifted
    def _unfolded(self, taps: int, weight: Tensor, x: Tensor, plus: Tensor | None) -> Tensor:
        """Of a weight (O, C k k), or (O, k k C), and what the windows see, (B N, C k k): laying convolutions' weights
        out is slow."""
        seen, (height, width) = self._seen(x, taps)
        other = None if plus is None else rearrange(plus, "B O h w -> (B h w) O")
        if self.kernels and linear.suits(seen, seen.shape[1], self.outs, weights=weight.dtype):
            made = linear.apply(seen, weight, self.wide, plus=other)
        else:
            made = _product(seen, weight.to(x.dtype), self.bias, other)
        return rearrange(made, "(B h w) O -> B O h w", h=height, w=width)

    def _seen(self, x: Tensor, taps: int) -> tuple[Tensor, tuple[int, int]]:
        ([edge, _], [step, _], *_) = self.sizes
        padded = rearrange(F.pad(x, (edge,) * 4) if edge else x, "B C h w -> B h w C")
        high, wide = (range(0, side - self.side + 1, step) for side in padded.shape[1:3])
        places = itertools.product(range(self.side), repeat=2)
        seen = [padded[:, i : i + high.stop : step, j : j + wide.stop : step] for i, j in places]
        return torch.stack(seen, dim=taps).flatten(0, 2).flatten(1), (len(high), len(wide))

    def prepare(self, x: Tensor) -> Run:
        weight = self.source.read()
        if self.kernels and self.sizes == PLAIN and convolution.pays(x, weight):
            return partial(self._by_kernel, convolution.order(weight, x.dtype))
        product = self._is_small(x) or self.side == 1
        if self.kernels and product and linear.suits(x, weight[0].numel(), self.outs, weights=weight.dtype):
            flat = rearrange(weight, "O C i j -> O (i j C)")
            return partial(self._unfolded, IN_RUNS, linear.order(flat, x.dtype))
        weight = weight.to(x.dtype)
        if self.sizes == PLAIN and winograd.pays(x, weight):
            return partial(self._winograd, winograd.order(weight))
        laid = weight.contiguous(memory_format=torch.channels_last)
        packed = torch.ops.mkldnn._reorder_convolution_weight(laid, *self.sizes, list(x.shape))
        return partial(self._direct, packed)

    def _by_kernel(self, ordered: Tensor, x: Tensor, plus: Tensor | None, shift: Tensor | None) -> Tensor:
        bias = self.wide if shift is None else shift.float() if self.wide is None else self.wide + shift
        return convolution.convolve(ordered, bias, x, plus)

    @_then_shifted
    def _winograd(self, ordered: Tensor, x: Tensor, plus: Tensor | None) -> Tensor:
        out = winograd.convolve(x, winograd.transform(ordered), self.bias)
        return out if plus is None else out.add_(plus)

    @_then_shifted
    def _direct(self, weight: Tensor, x: Tensor, plus: Tensor | None) -> Tensor:
        padding, *others = self.sizes
        given = (weight, self.bias, padding, *others)
        if plus is None:
            out: Tensor = torch.ops.mkldnn._convolution_pointwise.default(x, *given, "none", [], "")
        else:
            out = torch.ops.mkldnn._convolution_pointwise.binary(x, plus, *given, "add", None, None, [], None)
        return out


class Doubling(Layer):
    """By Winograd's, or for 4 / 9 of the products over the map that is doubled."""

    def __init__(self, layer: Upsample) -> None:
        super().__init__(Source(layer.conv.weight), layer.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        run: Callable[[Tensor], Tensor] = self.prepared(x)
        return run(x)

    def prepare(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        weight = self.source.read()
        if self.kernels and convolution.pays(x, weight, doubled=True):
            ordered = convolution.order(weight, x.dtype, doubled=True)
            return partial(convolution.convolve, ordered, self.wide, doubled=True)
        weight = weight.to(x.dtype)
        if winograd.pays(x, weight):
            return partial(_doubled_first, Convolution(weight, self.bias, padding=1))
        bias = None if self.bias is None else self.bias.repeat(4)
        return partial(_doubled_last, Convolution(strips.fold(weight), bias, padding=1))


def _doubled_first(convolve: Convolution, x: Tensor) -> Tensor:
    out: Tensor = convolve(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    return out


def _doubled_last(convolve: Convolution, x: Tensor) -> Tensor:
    four = convolve(x)
    size = (len(x), four.shape[1] // 4, 2 * x.shape[2], 2 * x.shape[3])
    out = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    strips.weave(four, out)
    return out
