"""Layers by strips against the layers themselves: strips of one row, of several, and of all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from limner.codecs import strips
from limner.nn import winograd
from limner.nn.residual import ResidualBlock, Upsample
from tests.oracles.comparing import error, scrambled

HEIGHT, WIDTH, CHANNELS = 7, 5, 8
WITHIN = 1e-5


@pytest.fixture(autouse=True, params=[1, 2, 3, 6, 7])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many of them make a strip of the maps here."""
    monkeypatch.setattr(strips, "NUMBERS", request.param * CHANNELS * WIDTH)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def x() -> Tensor:
    """Its channels have tones of their own, and so have its rows."""
    torch.manual_seed(1)
    tones = torch.randn(CHANNELS, 1, 1) + torch.linspace(-2, 2, HEIGHT)[:, None]
    return torch.randn(1, CHANNELS, HEIGHT, WIDTH) + tones


@pytest.mark.parametrize("after", [4, 8, 12])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_residual_block(x: Tensor, after: int, layout: torch.memory_format) -> None:
    block = scrambled(ResidualBlock(CHANNELS, after, groups=4, eps=1e-6))
    wanted = block(x)
    assert error(strips.residual(block, x.clone(memory_format=layout)), wanted) < WITHIN


@pytest.mark.parametrize(("after", "fits"), [(4, True), (8, True), (12, False)])
def test_a_residual_block_writes_over_what_it_was_given_where_it_fits(x: Tensor, after: int, fits: bool) -> None:
    block = ResidualBlock(CHANNELS, after, groups=4, eps=1e-6)
    x = x.contiguous(memory_format=torch.channels_last)
    out = strips.residual(block, x)
    assert (out.data_ptr() == x.data_ptr()) == fits
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert out.stride(0) == out.numel()  # of one, it is not asked; oneDNN goes by it all the same, slowly


def test_a_residual_block_by_winograd(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    block = scrambled(ResidualBlock(CHANNELS, 12, groups=4, eps=1e-6))
    plain = strips.residual(block, x.clone())
    monkeypatch.setattr(winograd, "pays", lambda x, weight: True)
    found = strips.residual(block, x.clone())
    assert 0.0 < error(found, plain) < 2 * WITHIN


@pytest.mark.parametrize("after", [3, 12])
def test_norm_activation_and_convolution(x: Tensor, after: int) -> None:
    norm, conv = scrambled(nn.GroupNorm(2, CHANNELS)), scrambled(nn.Conv2d(CHANNELS, after, 3, padding=1))
    before = x.clone()
    assert error(strips.convolved(norm, conv, x), conv(F.silu(norm(x)))) < WITHIN
    assert torch.equal(x, before)


def test_in_bfloat16_strips_are_as_near_the_truth_as_the_whole(x: Tensor) -> None:
    norm, conv = scrambled(nn.GroupNorm(2, CHANNELS)), scrambled(nn.Conv2d(CHANNELS, 16, 3, padding=1))
    for module in (norm, conv):
        module.to(torch.bfloat16)
    rounded = x.to(torch.bfloat16)
    found, plain = strips.convolved(norm, conv, rounded), conv(F.silu(norm(rounded)))
    wanted = conv.double()(F.silu(norm.double()(rounded.double())))
    assert found.dtype is torch.bfloat16
    assert (found - wanted).square().mean() < 1.2 * (plain - wanted).square().mean()


def test_far_from_zero_a_norm_loses_no_more_digits_than_it_must(x: Tensor) -> None:
    norm, conv = scrambled(nn.GroupNorm(2, CHANNELS)), scrambled(nn.Conv2d(CHANNELS, 4, 3, padding=1))
    x = x + 1000.0
    found, plain = strips.convolved(norm, conv, x), conv(F.silu(norm(x)))
    wanted = conv.double()(F.silu(norm.double()(x.double())))
    assert error(found.double(), wanted) < 2 * error(plain.double(), wanted)


@pytest.mark.parametrize("after", [8, 3])
def test_doubling(x: Tensor, after: int) -> None:
    layer = Upsample(CHANNELS)
    layer.conv = nn.Conv2d(CHANNELS, after, 3, padding=1)
    scrambled(layer)
    assert error(strips.doubled(layer, x), layer(x)) < WITHIN


def test_folded_kernels_are_those_of_the_doubled_map(x: Tensor) -> None:
    weight = torch.randn(6, CHANNELS, 3, 3)
    wanted = F.conv2d(F.interpolate(x, scale_factor=2.0), weight, padding=1)
    kinds = rearrange(strips.fold(weight), "(a b O) C p q -> a b O C p q", a=2, b=2)
    for a in range(2):
        for b in range(2):
            found = F.conv2d(x, kinds[a, b], padding=1)[:, :, a : a + HEIGHT, b : b + WIDTH]
            assert error(found, wanted[:, :, a::2, b::2]) < WITHIN


def test_they_are_for_a_picture_alone_and_not_for_learning(x: Tensor) -> None:
    block = scrambled(ResidualBlock(CHANNELS, CHANNELS, groups=4, eps=1e-6))
    two = x.repeat(2, 1, 1, 1)
    assert strips.suit(x)
    assert not strips.suit(two)
    assert torch.equal(strips.residual(block, two.clone()), block(two))
    with torch.enable_grad():
        assert not strips.suit(x)
        before = x.clone()
        assert torch.equal(strips.residual(block, x), block(x))
        assert torch.equal(x, before)
