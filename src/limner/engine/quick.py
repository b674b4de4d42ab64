"""Layers of an autoencoder for which our own kernels know a quicker way: see codecs/strips.py."""

from __future__ import annotations

from torch import nn

from limner.codecs.vae import Attention
from limner.engine import attention
from limner.engine.convolution import QuickConvolution
from limner.engine.norm import QuickNorm


def quicken(network: nn.Module) -> None:
    """Replace them. The network only draws from then on."""
    for name, child in network.named_children():
        if type(child) is nn.Conv2d and _is_usual(child):
            setattr(network, name, QuickConvolution(child))
        elif type(child) is nn.GroupNorm:
            setattr(network, name, QuickNorm(child))
        elif isinstance(child, Attention):
            child.attend = attention.attend
            quicken(child)
        else:
            quicken(child)


def _is_usual(layer: nn.Conv2d) -> bool:
    sides = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return sides == ((3, 3), (1, 1), (1, 1), (1, 1)) and layer.groups == 1 and layer.padding_mode == "zeros"
