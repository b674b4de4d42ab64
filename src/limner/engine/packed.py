"""The U-Net of nn/unet.py for drawing on a CPU: weights lie as they are read, and passes over its maps are few.

A layer's weights are laid out anew when it is first called, as the best layout depends on how much it has to do; the
ones that they came from are given up. Where those lie in a file that is mapped, `rest` gives up what was laid out,
until the next call. The keys and values of a text are kept from step to step. Adding to a residual stream, GELU and its
product with the values take no pass of their own: they are done while the numbers are in registers.

B batch, h and w the grid, N its places, L text tokens, W width, H heads, D head size.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from limner.engine import attention
from limner.engine.allocator import trim
from limner.engine.layers import Convolution, Doubling, Gated, Layer, Linear
from limner.engine.norm import Norm
from limner.engine.source import locate
from limner.nn import unet
from limner.nn.attention import attend
from limner.nn.residual import ResidualBlock, Upsample

PART, NARROW = 1024, 512  # tokens of a gated MLP at once, and the width up to which its weights are read so often


def pack(network: nn.Module, *, kernels: bool = False) -> None:
    """Replace the layers of a U-Net on a CPU: it only draws from then on, without gradients or weights to save. With
    `kernels`, what our own can do is theirs."""
    _replace(network)
    locate(layer.source for layer in network.modules() if isinstance(layer, Layer))
    for layer in network.modules():
        if isinstance(layer, Layer | Norm | SelfAttention | CrossAttention):
            layer.kernels = kernels


def _replace(network: nn.Module) -> None:
    for name, child in network.named_children():
        kind = PACKED.get(type(child))
        if kind is None:
            _replace(child)
        else:
            setattr(network, name, kind(child))


def available() -> bool:
    return hasattr(torch.ops.mkldnn, "_linear_pointwise")


def rest(network: nn.Module) -> None:
    """Give up what can be made again, at the next call."""
    if resting := [layer for layer in network.modules() if isinstance(layer, Layer | CrossAttention)]:
        for layer in resting:
            layer.rest()
        trim()


class Residual(nn.Module):
    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.norm1, self.norm2 = (Norm(norm, activated=True) for norm in (block.norm1, block.norm2))
        self.time_emb_proj = None if block.time_emb_proj is None else Linear.of(block.time_emb_proj)
        self.conv1, self.conv2 = Convolution.of(block.conv1), Convolution.of(block.conv2)
        self.conv_shortcut = None if block.conv_shortcut is None else Convolution.of(block.conv_shortcut)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        shift = None
        if self.time_emb_proj is not None:
            assert time is not None
            shift = self.time_emb_proj(F.silu(time))
        h: Tensor = self.conv1(self.norm1(x), shift=shift)
        beside = x if self.conv_shortcut is None else self.conv_shortcut(x)
        out: Tensor = self.conv2(self.norm2(h), plus=beside)
        return out


class Transformer(nn.Module):
    def __init__(self, block: unet.Transformer) -> None:
        super().__init__()
        self.norm = Norm(block.norm)
        self.proj_in, self.proj_out = Linear.of(block.proj_in), Linear.of(block.proj_out)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(one) for one in block.transformer_blocks if isinstance(one, unet.TransformerBlock)
        )

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        h = self.proj_in(rearrange(self.norm(x), "B W h w -> B (h w) W"))
        for block in self.transformer_blocks:
            h = block(h, context)
        out: Tensor = self.proj_out(h, unet.in_groups(rearrange(x, "B W h w -> B (h w) W"), h))
        return rearrange(out, "B (h w) W -> B W h w", h=x.shape[2])


class TransformerBlock(nn.Module):
    def __init__(self, block: unet.TransformerBlock) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (Norm(norm) for norm in (block.norm1, block.norm2, block.norm3))
        self.attn1, self.attn2 = SelfAttention(block.attn1), CrossAttention(block.attn2)
        wide, _, narrow = block.ff.net
        assert isinstance(wide, unet.GEGLU)
        assert isinstance(narrow, nn.Linear)
        self.gated = Gated(wide.proj.weight, bias=wide.proj.bias)
        self.narrow = Linear.of(narrow)
        self.part = PART if narrow.out_features <= NARROW else sys.maxsize

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = unet.in_groups(self.attn1(self.norm1(x), plus=x), context)
        x = self.attn2(self.norm2(x), context, plus=x)
        return self._gated(self.norm3(x), plus=x)

    def _gated(self, h: Tensor, *, plus: Tensor) -> Tensor:
        """Many tokens of a narrow block go in parts: what lies between its layers stays in the processor's cache."""
        parts = zip(*(torch.split(x.flatten(0, 1), self.part) for x in (h, plus)), strict=True)
        out = [self.narrow(self.gated(some), more) for some, more in parts]
        return (out[0] if len(out) == 1 else torch.cat(out)).view_as(plus)


class SelfAttention(nn.Module):
    kernels = False

    def __init__(self, layer: unet.Attention) -> None:
        super().__init__()
        self.heads = layer.heads
        self.qkv = Linear(layer.to_q.weight, layer.to_k.weight, layer.to_v.weight)
        self.out = Linear.of(layer.to_out[0])

    def forward(self, x: Tensor, *, plus: Tensor) -> Tensor:
        query, key, value = rearrange(self.qkv(x), "B N (three H D) -> three B H N D", three=3, H=self.heads)
        return _joined(self.out, _attend(query, key, value, kernels=self.kernels), plus)


class CrossAttention(nn.Module):
    kernels = False

    def __init__(self, layer: unet.Attention) -> None:
        super().__init__()
        self.heads = layer.heads
        self.query, self.memory = Linear(layer.to_q.weight), Linear(layer.to_k.weight, layer.to_v.weight)
        self.out = Linear.of(layer.to_out[0])
        self.read: tuple[Tensor, Tensor] | None = None  # the latest text, and its keys and values

    def forward(self, x: Tensor, context: Tensor, *, plus: Tensor) -> Tensor:
        query = rearrange(self.query(x), "B N (H D) -> B H N D", H=self.heads)
        key, value = rearrange(self._memory_of(context), "B L (two H D) -> two B H L D", two=2, H=self.heads)
        return _joined(self.out, _attend(query, key, value, kernels=self.kernels), plus)

    def _memory_of(self, context: Tensor) -> Tensor:
        """Step after step reads the same text."""
        read = self.read
        if read is None or not torch.equal(read[0], context):
            read = self.read = context.clone(), self.memory(context)
        return read[1]

    def rest(self) -> None:
        self.read = None


def _joined(out: Linear, heads: Tensor, plus: Tensor) -> Tensor:
    made: Tensor = out(rearrange(heads, "B H N D -> B N (H D)"), plus)
    return made


def _attend(query: Tensor, key: Tensor, value: Tensor, *, kernels: bool) -> Tensor:
    return (attention.attend if kernels else attend)(query, key, value)


PACKED: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Conv2d: Convolution.of,
    Upsample: Doubling,
    ResidualBlock: Residual,
    unet.Transformer: Transformer,
}
