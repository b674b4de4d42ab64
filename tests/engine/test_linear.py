"""Products by the kernel against torch's, and where layers take it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.engine import layers, linear
from tests.engine.kernel import error, with_kernel

pytestmark = [with_kernel, pytest.mark.usefixtures("only_drawing", "each_machine")]
WITHIN = {torch.bfloat16: 2.7e-3, torch.float32: 3e-6}  # the first rounded once, of sums that may be of halves


def drawn(dtype: torch.dtype, rows: int, channels: int, outs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, a weight and a bias."""
    weight = torch.randn(outs, channels) / channels**0.5
    return torch.randn(rows, channels).to(dtype), weight.to(dtype), torch.randn(outs)


SIZES = [
    (1, 32, 32), (31, 64, 96), (33, 320, 64), (512, 64, 64), (1030, 96, 160),  # rows that fill blocks, or do not
    (40, 2080, 64), (300, 4096, 96), (64, 6400, 32), (600, 1056, 64),  # channels in chunks
]  # fmt: skip


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_products(sizes: tuple[int, int, int], ordered: bool, dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, *sizes)
    plus = torch.randn(len(x), len(weight)).to(dtype)
    given = linear.order(weight, dtype) if ordered else weight
    expected = F.linear(x.double(), weight.double())
    found = linear.apply(x, given, None)
    assert found.dtype is dtype
    assert error(found, expected) < WITHIN[dtype]
    assert error(linear.apply(x, given, bias), expected + bias) < WITHIN[dtype]
    assert error(linear.apply(x, given, bias, plus=plus), expected + bias + plus.double()) < WITHIN[dtype]


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("scale", [1e-2, 1e2, 1e5])
def test_small_numbers_and_large_ones(scale: float, ordered: bool, dtype: torch.dtype) -> None:
    x, weight, _ = drawn(dtype, 40, 320, 64)
    x = (x * scale).to(dtype)
    given = linear.order(weight, dtype) if ordered else weight
    assert error(linear.apply(x, given, None), F.linear(x.double(), weight.double())) < WITHIN[dtype]


@pytest.mark.parametrize("ordered", [False, True])
def test_what_is_no_number_stays_none_in_its_row_alone(ordered: bool, dtype: torch.dtype) -> None:
    x, weight, _ = drawn(dtype, 40, 320, 64)
    x[7, 3] = torch.nan
    found = linear.apply(x, linear.order(weight, dtype) if ordered else weight, None)
    assert found[7].isnan().all()
    assert torch.cat([found[:7], found[8:]]).isfinite().all()


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("sizes", [*SIZES[1:], (7, 32, 32), (7, 64, 480)])
def test_one_half_gates_the_other(sizes: tuple[int, int, int], ordered: bool, dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, *sizes)
    for given_bias in (None, bias):
        exact = None if given_bias is None else given_bias.double()
        values, gates = F.linear(x.double(), weight.double(), exact).chunk(2, dim=1)
        given = linear.order(weight, dtype, gated=True) if ordered else weight
        assert error(linear.apply(x, given, given_bias, gated=True), values * F.gelu(gates)) < WITHIN[dtype]


def test_gelu_of_any_number(dtype: torch.dtype) -> None:
    """Far below zero, where it is the product of a large number and a small one, too."""
    values = torch.linspace(-12.0, 12.0, 2048).to(dtype)
    x = torch.zeros(len(values), 32).to(dtype)
    x[:, 0] = values
    weight = torch.zeros(32, 32).to(dtype)
    weight[16, 0] = 1.0  # the first gate
    bias = torch.cat([torch.ones(16), torch.zeros(16)])
    found = linear.apply(x, weight, bias, gated=True)[:, 0].double()
    expected = values.double() * torch.special.erfc(-values.double() / 2**0.5) / 2  # F.gelu loses it far below zero
    assert torch.allclose(found, expected, rtol=5e-2, atol=0.0)
    usual = values.abs() < 5.0
    assert torch.allclose(found[usual], expected[usual], rtol=8e-3, atol=0.0)


def test_any_shape_and_memory_format(dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, 60, 64, 32)
    expected = linear.apply(x, weight, bias)
    assert torch.equal(linear.apply(x.view(3, 20, 64), weight, bias), expected.view(3, 20, 32))
    turned = x.t().contiguous().t()
    assert torch.equal(linear.apply(turned, weight.t().contiguous().t(), bias), expected)


def test_nothing_is_read_or_written_outside(dtype: torch.dtype) -> None:
    """What lies behind the rows of x may be no number, and what lies behind the result stays."""
    x, weight, bias = drawn(dtype, 40, 64, 32)
    room = torch.full((64, 64), torch.nan).to(dtype)
    room[:40] = x
    assert torch.equal(linear.apply(room[:40], weight, bias), linear.apply(x, weight, bias))


def test_the_same_by_any_number_of_threads_and_in_any_order(dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, 700, 2080, 96)
    threads, expected = torch.get_num_threads(), linear.apply(x, weight, bias)
    assert torch.equal(linear.apply(x, linear.order(weight, dtype), bias), expected)
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert torch.equal(linear.apply(x, weight, bias), expected)
    finally:
        torch.set_num_threads(threads)


def test_what_is_no_number_harms_its_row_alone(dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, 50, 64, 32)
    x[7, 3] = torch.nan
    lost = linear.apply(x, weight, bias).isnan()
    assert lost[7].all()
    assert lost.sum() == 32


def test_what_it_suits(dtype: torch.dtype) -> None:
    x = torch.randn(4, 64).to(dtype)
    assert linear.suits(x, 64, 96, weights=dtype)
    assert not linear.suits(x.double(), 64, 96, weights=dtype)
    assert not linear.suits(x, 40, 96, weights=dtype)
    assert not linear.suits(x, 64, 40, weights=dtype)
    assert not linear.suits(x, 64, 96, weights=torch.float64)
    assert linear.suits(x, 64, 96, weights=torch.float16) == (dtype is torch.float32)


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("gated", [False, True])
def test_weights_in_half_precision_are_widened_as_they_are_used(
    gated: bool, narrow: torch.dtype, dtype: torch.dtype
) -> None:
    if dtype is not torch.float32:
        pytest.skip("those are for float32")
    x, weight, bias = drawn(dtype, 100, 320, 64)
    weight = weight.to(narrow)
    weight[3, :3] = torch.tensor([65504.0, 1e-7, -0.0])  # the largest half, one below the normal ones
    expected = linear.apply(x, weight.float(), bias, gated=gated)
    assert torch.equal(linear.apply(x, weight, bias, gated=gated), expected)
    ordered = linear.order(weight, dtype, gated=gated)
    assert ordered.dtype is narrow
    assert torch.equal(linear.apply(x, ordered, bias, gated=gated), expected)


@pytest.mark.parametrize("kernels", [False, True])
def test_packed_layers_take_it_only_when_they_may(kernels: bool, dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, 300, 64, 128)
    layer = nn.Linear(64, 128).to(dtype)
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias.to(dtype))
    plain, gated = (kind(layer.weight, bias=layer.bias) for kind in (layers.Linear, layers.Gated))
    plain.kernels = gated.kernels = kernels
    wide = bias.to(dtype).float()
    assert torch.equal(plain(x), linear.apply(x, weight, wide)) or not kernels
    assert torch.equal(gated(x), linear.apply(x, weight, wide, gated=True)) == kernels  # torch is off by its rounding
    values, gates = F.linear(x.double(), weight.double(), wide.double()).chunk(2, dim=1)
    assert error(gated(x), values * F.gelu(gates)) < 2 * WITHIN[dtype]
    assert (plain.ready.dim() == 3) == kernels


@pytest.mark.parametrize(("kernel", "side"), [(1, 24), (3, 8)])
def test_convolutions_of_one_place_and_of_few(kernel: int, side: int, dtype: torch.dtype) -> None:
    layer = nn.Conv2d(64, 96, kernel, padding=kernel // 2).to(dtype)
    x = torch.randn(2, 64, side, side).to(dtype).contiguous(memory_format=torch.channels_last)
    plus = torch.randn(2, 96, side, side).to(dtype)
    exact = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=kernel // 2)
    made = layers.Convolution.of(layer)
    made.kernels = True
    assert error(made(x), exact) < WITHIN[dtype]
    assert error(made(x, plus), exact + plus.double()) < WITHIN[dtype]
    by_spots = side == 8 and dtype is torch.float32
    assert made.ready.func.__name__ == ("_by_kernel" if by_spots else "_unfolded")
