"""Products by the kernel against torch's, and where layers take it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.engine.kernel import error, with_kernel
from torch import Tensor, nn

from limner.engine import layers, linear

pytestmark = [with_kernel, pytest.mark.usefixtures("only_drawing", "each_machine")]
WITHIN = 2.7e-3  # of bfloat16, rounded once, of sums that may be of half precision's


def drawn(rows: int, channels: int, outs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, a weight and a bias."""
    weight = torch.randn(outs, channels) / channels**0.5
    return torch.randn(rows, channels).bfloat16(), weight.bfloat16(), torch.randn(outs)


SIZES = [
    (1, 32, 32), (31, 64, 96), (33, 320, 64), (512, 64, 64), (1030, 96, 160),  # rows that fill blocks, or do not
    (40, 2080, 64), (300, 4096, 96), (64, 6400, 32), (600, 1056, 64),  # channels in chunks
]  # fmt: skip


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_products(sizes: tuple[int, int, int], ordered: bool) -> None:
    x, weight, bias = drawn(*sizes)
    plus = torch.randn(len(x), len(weight)).bfloat16()
    given = linear.order(weight) if ordered else weight
    expected = F.linear(x.double(), weight.double())
    found = linear.apply(x, given, None)
    assert found.dtype is torch.bfloat16
    assert error(found, expected) < WITHIN
    assert error(linear.apply(x, given, bias), expected + bias) < WITHIN
    assert error(linear.apply(x, given, bias, plus=plus), expected + bias + plus.double()) < WITHIN


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("scale", [1e-2, 1e2, 1e5])
def test_small_numbers_and_large_ones(scale: float, ordered: bool) -> None:
    x, weight, _ = drawn(40, 320, 64)
    x = (x * scale).bfloat16()
    given = linear.order(weight) if ordered else weight
    assert error(linear.apply(x, given, None), F.linear(x.double(), weight.double())) < WITHIN


@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_no_number_stays_none_in_its_row_alone(ordered: bool) -> None:
    x, weight, _ = drawn(40, 320, 64)
    x[7, 3] = torch.nan
    found = linear.apply(x, linear.order(weight) if ordered else weight, None)
    assert found[7].isnan().all()
    assert torch.cat([found[:7], found[8:]]).isfinite().all()


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("sizes", [*SIZES[1:], (7, 32, 32), (7, 64, 480)])
def test_one_half_gates_the_other(sizes: tuple[int, int, int], ordered: bool) -> None:
    x, weight, bias = drawn(*sizes)
    for given_bias in (None, bias):
        exact = None if given_bias is None else given_bias.double()
        values, gates = F.linear(x.double(), weight.double(), exact).chunk(2, dim=1)
        given = linear.order(weight, gated=True) if ordered else weight
        assert error(linear.apply(x, given, given_bias, gated=True), values * F.gelu(gates)) < WITHIN


def test_gelu_of_any_number() -> None:
    """Far below zero, where it is the product of a large number and a small one, too."""
    values = torch.linspace(-12.0, 12.0, 2048).bfloat16()
    x = torch.zeros(len(values), 32).bfloat16()
    x[:, 0] = values
    weight = torch.zeros(32, 32).bfloat16()
    weight[16, 0] = 1.0  # the first gate
    bias = torch.cat([torch.ones(16), torch.zeros(16)])
    found = linear.apply(x, weight, bias, gated=True)[:, 0].double()
    expected = values.double() * torch.special.erfc(-values.double() / 2**0.5) / 2  # F.gelu loses it far below zero
    assert torch.allclose(found, expected, rtol=5e-2, atol=0.0)
    usual = values.abs() < 5.0
    assert torch.allclose(found[usual], expected[usual], rtol=8e-3, atol=0.0)


def test_any_shape_and_memory_format() -> None:
    x, weight, bias = drawn(60, 64, 32)
    expected = linear.apply(x, weight, bias)
    assert torch.equal(linear.apply(x.view(3, 20, 64), weight, bias), expected.view(3, 20, 32))
    turned = x.t().contiguous().t()
    assert torch.equal(linear.apply(turned, weight.t().contiguous().t(), bias), expected)


def test_nothing_is_read_or_written_outside() -> None:
    """What lies behind the rows of x may be no number, and what lies behind the result stays."""
    x, weight, bias = drawn(40, 64, 32)
    room = torch.full((64, 64), torch.nan).bfloat16()
    room[:40] = x
    assert torch.equal(linear.apply(room[:40], weight, bias), linear.apply(x, weight, bias))


def test_the_same_by_any_number_of_threads_and_in_any_order() -> None:
    x, weight, bias = drawn(700, 2080, 96)
    threads, expected = torch.get_num_threads(), linear.apply(x, weight, bias)
    assert torch.equal(linear.apply(x, linear.order(weight), bias), expected)
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert torch.equal(linear.apply(x, weight, bias), expected)
    finally:
        torch.set_num_threads(threads)


def test_what_is_no_number_harms_its_row_alone() -> None:
    x, weight, bias = drawn(50, 64, 32)
    x[7, 3] = torch.nan
    lost = linear.apply(x, weight, bias).isnan()
    assert lost[7].all()
    assert lost.sum() == 32


def test_what_it_suits() -> None:
    x = torch.randn(4, 64).bfloat16()
    assert linear.suits(x, 96)
    assert not linear.suits(x.float(), 96)
    assert not linear.suits(x[:, :40], 96)
    assert not linear.suits(x, 40)


@pytest.mark.parametrize("kernels", [False, True])
def test_packed_layers_take_it_only_when_they_may(kernels: bool) -> None:
    x, weight, bias = drawn(300, 64, 128)
    layer = nn.Linear(64, 128).bfloat16()
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias.bfloat16())
    plain, gated = (kind(layer.weight, bias=layer.bias) for kind in (layers.Linear, layers.Gated))
    plain.kernels = gated.kernels = kernels
    wide = bias.bfloat16().float()
    assert torch.equal(plain(x), linear.apply(x, weight, wide)) or not kernels
    assert torch.equal(gated(x), linear.apply(x, weight, wide, gated=True)) == kernels  # torch rounds in between
    values, gates = F.linear(x.double(), weight.double(), wide.double()).chunk(2, dim=1)
    assert error(gated(x), values * F.gelu(gates)) < 2 * WITHIN
    assert (plain.ready.dim() == 5) == kernels


@pytest.mark.parametrize(("kernel", "side"), [(1, 24), (3, 8)])
def test_convolutions_of_one_place_and_of_few(kernel: int, side: int) -> None:
    layer = nn.Conv2d(64, 96, kernel, padding=kernel // 2).bfloat16()
    x = torch.randn(2, 64, side, side).bfloat16().contiguous(memory_format=torch.channels_last)
    plus = torch.randn(2, 96, side, side).bfloat16()
    exact = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=kernel // 2)
    made = layers.Convolution.of(layer)
    made.kernels = True
    assert error(made(x), exact) < WITHIN
    assert error(made(x, plus), exact + plus.double()) < WITHIN
    assert made.ready.func.__name__ == "_unfolded"
