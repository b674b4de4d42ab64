"""Convolutions by fewer products against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.nn import winograd


def given(*, batch: int = 2, channels: int = 12, out: int = 9, height: int = 8, width: int = 8) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((batch, channels, height, width), (out, channels, 3, 3), (out,))
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in shapes)
    return x.contiguous(memory_format=torch.channels_last), weight, bias


def kernels(weight: Tensor) -> Tensor:
    return winograd.transform(winograd.order(weight))


@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 12), (5, 7), (1, 3), (10, 16)])
def test_it_is_the_convolution_at_every_size(height: int, width: int) -> None:
    x, weight, bias = given(height=height, width=width)
    expected = F.conv2d(x, weight, bias, padding=1)
    torch.testing.assert_close(winograd.convolve(x, kernels(weight), bias), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", [(0, 1), (0, 0), (1, 0), (2, 1)])
def test_it_pads_as_it_is_told(padding: tuple[int, int]) -> None:
    x, weight, bias = given(height=10, width=9)
    expected = F.conv2d(x, weight, bias, padding=padding)
    made = winograd.convolve(x, kernels(weight), bias, padding=padding)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)


def test_a_large_map_is_convolved_by_rows_of_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    # Small whole numbers add up to the same in any order, and products of another size may take another.
    x, bias = (one.sign() for one in given(height=19, width=10)[::2])
    seen = torch.randint(-1, 2, (36, x.shape[1], len(bias)), generator=torch.Generator().manual_seed(0)).float()
    whole = winograd.convolve(x, seen, bias)
    monkeypatch.setattr(winograd, "MOST", 36 * len(x) * 3 * x.shape[1] * 2)  # two rows of three tiles
    assert torch.equal(winograd.convolve(x, seen, bias), whole)
    assert whole.any()


def test_it_pays_in_float32_for_large_maps_of_many_channels() -> None:
    x, weight, _ = given(channels=64, out=64, height=32, width=32)
    assert winograd.pays(x, weight)
    assert not winograd.pays(x.bfloat16(), weight.bfloat16())
    assert not winograd.pays(x[:, :, :8, :8], weight)
    assert not winograd.pays(x, weight[:4])
    assert not winograd.pays(x, weight[:, :, :1, :1])


def test_it_needs_no_bias_and_no_memory_format() -> None:
    x, weight, _ = given()
    made = winograd.convolve(x.contiguous(), kernels(weight))
    torch.testing.assert_close(made, F.conv2d(x, weight, padding=1), rtol=1e-4, atol=1e-4)


def test_what_it_makes_is_in_channels_last_where_tiles_fit() -> None:
    x, weight, bias = given()
    assert winograd.convolve(x, kernels(weight), bias).is_contiguous(memory_format=torch.channels_last)


def test_five_digits_are_right_of_sums_over_many_channels() -> None:
    x, weight, bias = given(channels=320, out=64, height=16, width=16)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    made = winograd.convolve(x, kernels(weight), bias)
    assert float((made - exact).norm() / exact.norm()) < 1e-5


def test_a_batch_is_its_pictures() -> None:
    x, weight, bias = given(batch=3)
    together = winograd.convolve(x, kernels(weight), bias)
    alone = torch.cat([winograd.convolve(one, kernels(weight), bias) for one in x.split(1)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
