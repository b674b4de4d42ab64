"""From a family as it was read to one that draws as fast as the machine can."""

from __future__ import annotations

import torch
from torch import nn

from limner.codecs.vae import VAE
from limner.core import Family
from limner.engine import packed
from limner.engine.allocator import pool
from limner.engine.compiled import check_wish, compile_network
from limner.engine.precision import check_can_compute, dtype_for
from limner.engine.quick import quicken
from limner.nn.unet import UNet
from limner.store.pages import forget, mappings


def prepared(family: Family, *, precision: str = "auto", compile: str = "auto", calls: int = 0) -> Family:
    """`family` itself, its `networks` in another precision and faster. It only draws from then on.

    `precision` is auto, fp32, bf16 or fp16; `compile` auto, on or off. `calls` is how often the networks are to be
    called, as far as that is known: compiling takes minutes. With off no compiler is called, for our own kernels
    neither. A family that names no networks stays as it is. InputError where the device has no such precision.
    """
    dtype, networks = dtype_for(precision, family.device, kernels=compile != "off"), family.networks()
    if networks:
        check_can_compute(precision, family.device)
    for network in networks:
        prepare(network, dtype, compile=compile, calls=calls)
    return family


def prepare(network: nn.Module, dtype: torch.dtype, *, compile: str = "auto", calls: int = 0) -> None:
    """See `prepared`."""
    check_wish(compile)
    kernels = compile != "off" and _on_cpu(network)
    packs = isinstance(network, UNet) and compile != "on" and _on_cpu(network) and packed.available()
    narrow(network, dtype, weights=not (packs and kernels and dtype is torch.float32))
    if packs:
        packed.pack(network, kernels=kernels)
        narrow(network, dtype)
    elif isinstance(network, UNet):
        compile_network(network, wanted=compile, calls=calls)
    elif isinstance(network, VAE) and kernels:
        quicken(network)


def rest(family: Family) -> None:
    """No step is to be done for now: memory is given back that is soon filled again."""
    for network in family.networks():
        packed.rest(network)
    pool.clear()


@torch.no_grad()
def narrow(network: nn.Module, dtype: torch.dtype, *, weights: bool = True) -> None:
    """Parameters and buffers to `dtype`, one by one: at no time are all there twice. Without `weights` those stay as
    they are, for layers that widen them as they are used."""
    files = mappings()
    for module in network.modules():
        for own in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if own.is_floating_point() and own.dtype is not dtype and (weights or own.dim() < 2):
                before, own.data = own.data, own.data.to(dtype)
                forget(before, mapped=files)


def _on_cpu(network: nn.Module) -> bool:
    return all(one.device.type == "cpu" for one in network.parameters())
