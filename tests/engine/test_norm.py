"""Norms by the kernel against torch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limner.engine import norm
from limner.engine.norm import Norm
from tests.engine.kernel import error, with_bf16_kernel

pytestmark = [with_bf16_kernel, pytest.mark.usefixtures("only_drawing")]
WITHIN = 2.5e-3  # of bfloat16, rounded once


def layer(
    kind: type[nn.Module], *given: float, activated: bool = False, kernels: bool = True
) -> tuple[Norm, nn.Module]:
    """The norm by our kernel, and the layer in float64."""
    plain = kind(*given, eps=1e-5)
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    plain.bfloat16()
    made = Norm(plain, activated=activated)
    made.kernels = kernels
    exact = kind(*given, eps=1e-5).double()
    exact.load_state_dict(plain.state_dict())
    return made, exact


@pytest.mark.parametrize("activated", [False, True])
@pytest.mark.parametrize("sizes", [(1, 32, 1, 2), (2, 320, 16, 16), (3, 96, 7, 5), (1, 64, 100, 90), (2, 48, 3, 3)])
def test_groups(sizes: tuple[int, int, int, int], activated: bool) -> None:
    ours, exact = layer(nn.GroupNorm, 8 if sizes[1] % 32 else 32, sizes[1], activated=activated)
    x = (5.0 + torch.randn(sizes) * torch.linspace(0.1, 3.0, sizes[1])[:, None, None]).bfloat16()
    expected = exact(x.double())
    found = ours(x.contiguous(memory_format=torch.channels_last))
    assert found.dtype is torch.bfloat16
    assert error(found, F.silu(expected) if activated else expected) < WITHIN
    assert torch.equal(ours(x), found)  # whatever its memory format


@pytest.mark.parametrize("shape", [(2, 7, 320), (1, 1, 16), (3, 300, 64)])
def test_tokens(shape: tuple[int, ...]) -> None:
    ours, exact = layer(nn.LayerNorm, shape[-1])
    x = (5.0 + torch.randn(shape)).bfloat16()
    assert error(ours(x), exact(x.double())) < WITHIN
    turned = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(ours(turned), ours(x))


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_by_strips(layout: torch.memory_format) -> None:
    """Each with what is known of the whole map, in a memory format that names its batch's stride rightly."""
    ours, exact = layer(nn.GroupNorm, 8, 64, activated=True)
    assert isinstance(ours.layer, nn.GroupNorm)
    quick = norm.QuickNorm(ours.layer)
    x = (5.0 + torch.randn(1, 64, 12, 10)).bfloat16().contiguous(memory_format=layout)
    way = quick.way(x)
    assert way is not None
    strips = [way(x[:, :, i : i + 5]) for i in range(0, 12, 5)]
    assert torch.equal(torch.cat(strips, dim=2), ours(x))
    assert all(strip.stride(0) == strip.numel() for strip in strips)
    assert error(quick(x), exact(x.double())) < WITHIN  # whole, and without a SiLU
    with torch.enable_grad():
        assert quick.way(x) is None
    assert quick.float().way(x.float()) is None


def test_a_picture_is_the_same_in_any_company() -> None:
    ours, _ = layer(nn.GroupNorm, 8, 64, activated=True)
    x = torch.randn(3, 64, 12, 12).bfloat16()
    assert torch.equal(ours(x[1:2]), ours(x)[1:2])


def test_extremes() -> None:
    ours, exact = layer(nn.GroupNorm, 1, 16, activated=True)
    constant = torch.full((1, 16, 4, 4), 3.0).bfloat16()  # of no variance
    assert error(ours(constant), F.silu(exact(constant.double()))) < WITHIN
    lost = torch.randn(1, 16, 4, 4).bfloat16()
    lost[0, 3, 1, 1] = torch.nan
    assert ours(lost).isnan().all()
    plain = nn.GroupNorm(1, 16)
    nn.init.constant_(plain.bias, -200.0)
    steep = Norm(plain.bfloat16(), activated=True)
    steep.kernels = True
    assert not steep(constant).any()  # silu of far below zero


@pytest.mark.parametrize("how", ["not allowed", "float32", "channels"])
def test_what_it_cannot_do_is_torchs(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(norm, "kernel", lambda: pytest.fail("it is asked"))
    channels = 24 if how == "channels" else 32
    ours, _ = layer(nn.GroupNorm, 8, channels, activated=True, kernels=how != "not allowed")
    x = torch.randn(1, channels, 6, 6)
    if how == "float32":
        ours.float()
    else:
        x = x.bfloat16()
    assert torch.equal(ours(x), F.silu(ours.layer(x)))
