"""Packed layers say what the plain ones say, in either precision, at every size, and give their weights up."""

from __future__ import annotations

import copy
import gc
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from limner.engine import layers, packed
from limner.nn.unet import UNet, UNetConfig
from limner.store import pages, weights
from tests.engine.kernel import BY_NUMBERS, NUMBERS, with_bf16, with_bf16_kernel, with_kernel

SMALL = UNetConfig(widths=(32, 64), blocks=1, depths=(1, 2), heads=(2, 2), context=12, groups=8)
KINDS = {
    "stable diffusion 1": SMALL,
    "stable diffusion 2": replace(SMALL, linear=True, heads=(1, 2)),
    "xl": replace(SMALL, linear=True, added=6, depths=(0, 2), middle=2),
}

pytestmark = pytest.mark.skipif(not packed.available(), reason="torch is built without oneDNN")


def inputs(config: UNetConfig, *, batch: int = 2, height: int = 32, width: int = 24) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, config.channels_in, height, width), (batch, 5, config.context), (batch, config.added))
    x, context, added = (torch.randn(shape, generator=generator) for shape in shapes)
    return [x, torch.linspace(10, 900, batch), context, added if config.added else None]


def awake(config: UNetConfig) -> UNet:
    """With what begins at zero moved away from it."""
    torch.manual_seed(0)
    unet = UNet(config).eval().requires_grad_(False)
    for one in unet.parameters():
        if not one.any():
            torch.nn.init.normal_(one, std=0.05)
    return unet


def packed_copy(unet: UNet, *, kernels: bool = False) -> UNet:
    made = copy.deepcopy(unet)
    packed.pack(made, kernels=kernels)
    return made


def cast(given: list[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    return [one if one is None or one.dim() == 1 else one.to(dtype) for one in given]


def apart(one: Tensor, other: Tensor) -> float:
    return float((one.float() - other.float()).norm() / other.float().norm())


@torch.no_grad()
@pytest.mark.parametrize("kernels", [False, pytest.param(True, marks=with_kernel)])
@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_the_plain_network_says(kind: str, kernels: bool) -> None:
    unet, given = awake(KINDS[kind]), inputs(KINDS[kind])
    fast = packed_copy(unet, kernels=kernels)
    assert apart(fast(*given), unet(*given)) < 1e-4
    assert apart(fast(*given), unet(*given)) < 1e-4  # again, with what is packed by now


@with_bf16
@torch.no_grad()
@pytest.mark.parametrize("kernels", [False, pytest.param(True, marks=with_bf16_kernel)])
@pytest.mark.parametrize("kind", KINDS)
def test_in_bfloat16_it_is_as_near_to_float32_as_the_plain_network(kind: str, kernels: bool) -> None:
    unet, given = awake(KINDS[kind]), inputs(KINDS[kind])
    exact = unet(*given)
    narrow = unet.to(torch.bfloat16)
    made = packed_copy(narrow, kernels=kernels)
    plain, fast = (network(*cast(given, torch.bfloat16)) for network in (narrow, made))
    assert fast.dtype is torch.bfloat16
    assert apart(fast, exact) < 1.5 * apart(plain, exact)


@torch.no_grad()
def test_a_latent_that_is_read_with_two_texts_is_given_once() -> None:
    unet, (x, t, context, _) = awake(SMALL), inputs(SMALL)
    assert isinstance(context, Tensor)
    texts = torch.cat([context, context.flip(0)])
    assert apart(packed_copy(unet)(x, t, texts), unet(x.repeat(2, 1, 1, 1), t.repeat(2), texts)) < 1e-4


@torch.no_grad()
def test_another_text_is_read_even_in_the_same_tensor() -> None:
    unet, (x, t, context, _) = awake(SMALL), inputs(SMALL)
    assert isinstance(context, Tensor)
    fast = packed_copy(unet)
    before = fast(x, t, context)
    context.neg_()
    assert apart(fast(x, t, context), unet(x, t, context)) < 1e-4 < apart(fast(x, t, context), before)
    assert apart(fast(x, t, context[:, :3]), unet(x, t, context[:, :3])) < 1e-4


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_tokens_that_go_in_parts_say_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "PART", 100)
    unet, given = awake(KINDS[kind]), inputs(KINDS[kind])
    assert apart(packed_copy(unet)(*given), unet(*given)) < 1e-4


@torch.no_grad()
@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 24), (2, 8, 8), (3, 10, 64)])
def test_packed_at_one_size_it_serves_others(batch: int, height: int, width: int) -> None:
    unet = awake(SMALL)
    fast = packed_copy(unet)
    fast(*inputs(SMALL))
    given = inputs(SMALL, batch=batch, height=height, width=width)
    assert apart(fast(*given), unet(*given)) < 1e-4


@torch.no_grad()
def test_large_maps_in_float32_go_by_winograd_and_small_ones_do_not() -> None:
    def chosen(*, kernels: bool, **size: int) -> set[str]:
        fast = packed_copy(awake(SMALL), kernels=kernels)
        fast(*inputs(SMALL, **size))
        assert isinstance(fast.mid_block.resnets[0], packed.Residual)
        return {one.ready.func.__name__ for one in fast.modules() if isinstance(one, layers.Convolution) and one.ready}

    assert chosen(kernels=False, height=32, width=32) == {"_winograd", "_direct"}
    assert chosen(kernels=False, batch=1, height=8, width=8) == {"_direct"}
    if BY_NUMBERS[torch.float32]:
        assert chosen(kernels=True, height=32, width=32) == {"_by_kernel", "_unfolded", "_direct"}


@torch.no_grad()
def test_the_first_weights_are_given_up() -> None:
    fast = awake(SMALL)
    kept = [weakref.ref(one) for one in fast.parameters() if one.dim() > 1 and one.shape != (128, 128)]
    sizes = sum(one.numel() for one in fast.parameters())
    packed.pack(fast)
    fast(*inputs(SMALL))
    gc.collect()
    assert sum(one.numel() for one in fast.parameters()) < 0.3 * sizes  # norms, and what reads the time
    assert sum(one() is not None for one in kept) < 0.3 * len(kept)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@torch.no_grad()
@pytest.mark.parametrize("dtype", [None, *NUMBERS])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_in_a_file_are_read_again_after_a_rest(
    kind: str, dtype: torch.dtype | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By kernels for a type of numbers, or in float32 without."""
    monkeypatch.setattr(pages, "LEAST", 1)
    kernels, dtype = dtype is not None, dtype or torch.float32
    within = 5e-2 if dtype is torch.bfloat16 else 1e-4
    unet = awake(KINDS[kind]).to(dtype)
    given = cast(inputs(KINDS[kind]), dtype)
    safetensors.torch.save_file(unet.state_dict(), tmp_path / "unet.safetensors")
    fast = UNet(KINDS[kind]).eval().requires_grad_(False)
    fast.load_state_dict(weights.load(tmp_path / "unet.safetensors"), assign=True)
    packed.pack(fast, kernels=kernels)
    found = [one for one in fast.modules() if isinstance(one, layers.Layer)]
    assert all(one.source.lasting for one in found)
    first = fast(*given)
    assert apart(first, unet(*given)) < within
    ready = [one for one in found if one.ready is not None]
    assert 0 < len(ready) < len(found)  # the last level has few places
    packed.rest(fast)
    assert not any(one.ready for one in found)
    assert torch.equal(fast(*given), first)


@torch.no_grad()
def test_weights_in_memory_alone_do_not_rest() -> None:
    fast = packed_copy(awake(SMALL))
    first = fast(*inputs(SMALL))
    packed.rest(fast)
    assert torch.equal(fast(*inputs(SMALL)), first)
