"""Layers over a picture's maps by strips of rows, to the same numbers, where no gradient is wanted.

All that a GroupNorm must know of the whole map is two numbers for each channel, and they are taken first. The rest is
local. So norm, activation and convolution follow one another on a few rows while these are in the processor's cache,
and no map is there but the one that is read and the one that is made.

A picture alone, (1, C, h, w); O channels are made of C. A strip is rows `i` up to `j`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from limner.nn import winograd
from limner.nn.residual import ResidualBlock, Upsample

NUMBERS = 1 << 22  # in a strip: 8 MiB in bfloat16, and a convolution of it is long beside what calling it costs


Ends = tuple[bool, bool]  # whether a strip's first row is the map's first, and its last the map's last
Normalise = Callable[[Tensor], Tensor]  # a strip with what is done to it, a SiLU behind


class Convolve(Protocol):
    """A strip that has its neighbours' rows, or zeros where the map ends, into `out` or added to it."""

    def __call__(self, strip: Tensor, ends: Ends, out: Tensor, *, add: bool) -> None: ...


@runtime_checkable
class QuickConvolution(Protocol):
    """One of 3 x 3 that may know a quicker way than torch's, for maps like x."""

    def way(self, x: Tensor) -> Convolve | None: ...

    def doubled(self, x: Tensor) -> Tensor | None:
        """Of x with its sides doubled."""


@runtime_checkable
class QuickNorm(Protocol):
    """One that may know a quicker way than torch's, for the strips of x."""

    def way(self, x: Tensor) -> Normalise | None: ...


def suit(x: Tensor) -> bool:
    """Whether these layers are for it."""
    return not torch.is_grad_enabled() and len(x) == 1


def residual(block: ResidualBlock, x: Tensor) -> Tensor:
    """`block(x)` without a time. What `x` held may be lost: the result is written over it where it fits."""
    if not suit(x):
        out: Tensor = block(x)
        return out
    h = convolved(block.norm1, block.conv1, x)
    out = x if block.conv_shortcut is None else _over(block.conv_shortcut, x)
    _convolve(block.norm2, block.conv2, h, out, add=True)
    return out


def convolved(norm: nn.GroupNorm, conv: nn.Conv2d, x: Tensor) -> Tensor:
    """conv(silu(norm(x))), the convolution one of 3 x 3."""
    out = _empty(x, conv.out_channels, growth=1)
    _convolve(norm, conv, x, out, add=False)
    return out


def doubled(layer: Upsample, x: Tensor) -> Tensor:
    """`layer(x)` for 4 / 9 of the work: see `fold`. Or by the convolution's own way."""
    if isinstance(layer.conv, QuickConvolution) and (made := layer.conv.doubled(x)) is not None:
        return made
    weight, bias = fold(layer.conv.weight), repeat(layer.conv.bias, "O -> (four O)", four=4)
    out = _empty(x, layer.conv.out_channels, growth=2)
    for i, j in _rows(x):
        strip = _edged(x[:, :, max(i - 1, 0) : j + 1], i == 0, j == x.shape[2])
        four = F.conv2d(strip, weight, bias, padding=(0, 1))
        weave(four, out[:, :, 2 * i : 2 * j])
    return out


def fold(weight: Tensor) -> Tensor:
    """Kernels (O, C, 3, 3) of a doubled map to kernels (4 O, C, 2, 2) of the map itself.

    Below 3 x 3 weights lie only 2 x 2 different numbers, as each was made four. Which weights share one depends on
    whether row and column are even: the four kinds follow one another, columns fastest.
    """
    even, odd = [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    share = torch.tensor([even, odd], device=weight.device)
    kinds = torch.einsum("apk,bql,OCkl->abOCpq", share, share, weight.float())
    folded = rearrange(kinds, "a b O C p q -> (a b O) C p q").to(weight.dtype)
    return folded.contiguous(memory_format=torch.channels_last)


def weave(four: Tensor, out: Tensor) -> None:
    """Into `out` (B, O, 2 h, 2 w): what folded kernels made of a map padded by one, (B, 4 O, h + 1, w + 1)."""
    height, width = out.shape[2] // 2, out.shape[3] // 2
    for place, one in enumerate(four.chunk(4, dim=1)):
        row, column = divmod(place, 2)
        out[:, :, row::2, column::2] = one[:, :, row : row + height, column : column + width]


# ---------------------------------------------------------------------------------------------------
# Strips, and what a norm must know of all of them.


def _convolve(norm: nn.GroupNorm, conv: nn.Conv2d, x: Tensor, out: Tensor, *, add: bool) -> None:
    normalise, convolve = _normaliser(norm, x), _convolver(conv, x)
    for i, j in _rows(x):
        strip = normalise(x[:, :, max(i - 1, 0) : j + 1])
        convolve(strip, (i == 0, j == x.shape[2]), out[:, :, i:j], add=add)


def _normaliser(norm: nn.GroupNorm, x: Tensor) -> Normalise:
    """Once its statistics are known, a norm is what batch norms are in use."""
    if isinstance(norm, QuickNorm) and (way := norm.way(x)):
        return way
    mean, variance = _statistics(x, norm.num_groups)
    weight, bias = norm.weight.float(), norm.bias.float()
    return lambda strip: F.silu(F.batch_norm(strip, mean, variance, weight, bias, eps=norm.eps), inplace=True)


def _convolver(conv: nn.Conv2d, x: Tensor) -> Convolve:
    if isinstance(conv, QuickConvolution) and (way := conv.way(x)):
        return way
    convolve: Callable[[Tensor], Tensor] = partial(F.conv2d, weight=conv.weight, bias=conv.bias, padding=(0, 1))
    if winograd.pays(x, conv.weight):
        kernels = winograd.transform(winograd.order(conv.weight))
        convolve = partial(winograd.convolve, kernels=kernels, bias=conv.bias, padding=(0, 1))

    def run(strip: Tensor, ends: Ends, out: Tensor, *, add: bool) -> None:
        made = convolve(_edged(strip, *ends))
        out.add_(made) if add else out.copy_(made)

    return run


def _statistics(x: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel's group, both (C,) in float32. Summed by strips they round less, too."""
    parts = []
    for i, j in _rows(x):
        zeros = torch.zeros(x.shape[1], device=x.device)  # in float32, which has the answer in it, too
        stats = torch.batch_norm_update_stats(x[:, :, i:j], zeros, zeros.clone(), 0.0)
        mean, variance = (one.double() for one in stats)  # a square of float32 has more digits than float32
        parts.append((j - i) / x.shape[2] * torch.stack([mean, variance + mean.square()]))
    mean, square = rearrange(torch.stack(parts).sum(dim=0), "two (G c) -> two G c", G=groups).mean(dim=2)
    each = torch.stack([mean, square - mean.square()]).float().repeat_interleave(x.shape[1] // groups, dim=1)
    return each[0], each[1]


def _over(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """conv(x), the convolution one of 1 x 1; to fewer channels it is written over x, behind what is yet to be read."""
    _, channels, height, width = x.shape
    if conv.out_channels > channels or not x.is_contiguous(memory_format=torch.channels_last):
        grown: Tensor = conv(x)
        return grown
    # With a batch, whose stride is right then: oneDNN goes by it.
    memory = rearrange(x, "1 C h w -> (h w C)")[None, : height * width * conv.out_channels]
    out = rearrange(memory, "B (h w O) -> B O h w", h=height, w=width)
    for i, j in _rows(x):
        out[:, :, i:j] = conv(x[:, :, i:j])
    return out


def _edged(strip: Tensor, first: bool, last: bool) -> Tensor:
    """With a row of zeros where the map ends; elsewhere the strip has its neighbours' rows."""
    return F.pad(strip, (0, 0, int(first), int(last))) if first or last else strip


def _empty(x: Tensor, channels: int, *, growth: int) -> Tensor:
    shape = (1, channels, growth * x.shape[2], growth * x.shape[3])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _rows(x: Tensor) -> Iterator[tuple[int, int]]:
    """Where strips begin and end."""
    height = x.shape[2]
    step = max(NUMBERS * height // x.numel(), 1)
    return ((i, min(i + step, height)) for i in range(0, height, step))
