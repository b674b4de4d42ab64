"""Convolutions by the kernel against torch's, and where layers take it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner import engine
from limner.codecs import strips
from limner.codecs.vae import VAE, VAEConfig
from limner.engine import attention, convolution, norm, packed
from limner.engine.convolution import Ends
from limner.engine.quick import quicken
from tests.engine.kernel import error, with_kernel

pytestmark = [with_kernel, pytest.mark.usefixtures("each_machine")]
WITHIN = {torch.bfloat16: 4e-3, torch.float32: 5e-6}  # the first's own rounding is 2e-3
NEAR = {torch.bfloat16: 5e-2, torch.float32: 1e-4}  # of an autoencoder


@pytest.fixture(autouse=True, scope="module")
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def drawn(
    dtype: torch.dtype, batch: int, channels: int, height: int, width: int, outs: int
) -> tuple[Tensor, Tensor, Tensor]:
    """A map, kernels and a bias."""
    torch.manual_seed(0)
    weight = torch.randn(outs, channels, 3, 3) / (9 * channels) ** 0.5
    x = torch.randn(batch, channels, height, width).to(dtype)
    return x.contiguous(memory_format=torch.channels_last), weight.to(dtype), torch.randn(outs)


@pytest.mark.parametrize("ends", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("sizes", [
    (1, 32, 3, 3, 32), (2, 64, 17, 9, 96), (1, 320, 16, 16, 352), (3, 96, 33, 31, 64), (1, 64, 4, 100, 704),
    (2, 32, 24, 24, 160), (2, 32, 16, 24, 160),
])  # fmt: skip
def test_it_is_nearly_as_right_as_torchs_own(
    sizes: tuple[int, int, int, int, int], ends: Ends, dtype: torch.dtype
) -> None:
    x, weight, bias = drawn(dtype, *sizes)
    edged = F.pad(x.double(), (1, 1, *map(int, ends)))
    expected = F.conv2d(edged, weight.double(), bias.double())
    plus = torch.randn_like(expected).to(dtype)
    ordered = convolution.order(weight, dtype)
    found = convolution.convolve(ordered, bias, x, ends=ends)
    assert found.shape == expected.shape
    assert found.dtype is dtype
    assert error(found, expected) < WITHIN[dtype]
    assert error(convolution.convolve(ordered, bias, x, plus, ends=ends), expected + plus.double()) < WITHIN[dtype]
    each = torch.randn(len(x), len(bias))
    by_image = expected + (each - bias)[:, :, None, None]
    assert error(convolution.convolve(ordered, each, x, ends=ends), by_image) < WITHIN[dtype]


@pytest.mark.parametrize("sizes", [(1, 32, 3, 3, 32), (2, 64, 17, 9, 96), (1, 96, 5, 40, 352)])
def test_of_a_doubled_map(sizes: tuple[int, int, int, int, int], dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, *sizes)
    expected = F.conv2d(F.interpolate(x.double(), scale_factor=2.0), weight.double(), bias.double(), padding=1)
    found = convolution.convolve(convolution.order(weight, dtype, doubled=True), bias, x, doubled=True)
    assert found.shape == expected.shape
    assert error(found, expected) < WITHIN[dtype]


@pytest.mark.parametrize("narrow", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("doubled", [False, True])
def test_weights_in_half_precision_are_widened_as_they_are_used(
    doubled: bool, narrow: torch.dtype, dtype: torch.dtype
) -> None:
    if dtype is not torch.float32:
        pytest.skip("those are for float32")
    x, weight, bias = drawn(dtype, 1, 96, 17, 9, 64)
    weight = weight.to(narrow)
    assert convolution.pays(x, weight, doubled=doubled)
    ordered, wide = (convolution.order(one, dtype, doubled=doubled) for one in (weight, weight.float()))
    assert ordered.dtype is narrow
    expected = convolution.convolve(wide, bias, x, doubled=doubled)
    assert torch.equal(convolution.convolve(ordered, bias, x, doubled=doubled), expected)


def test_any_memory_format_and_slices(dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, 2, 64, 12, 12, 32)
    ordered = convolution.order(weight, dtype)
    expected = convolution.convolve(ordered, bias, x, x[:, :32])
    assert torch.equal(convolution.convolve(ordered, bias, x.contiguous(), x[:, :32].contiguous()), expected)
    strip, whole = x[1:, :, 3:9], convolution.convolve(ordered, bias, x)[1:, :, 4:8]
    assert torch.equal(convolution.convolve(ordered, bias, strip, ends=(False, False)), whole)


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_into_some_rows_of_another_map_or_added_to_them(layout: torch.memory_format, dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, 1, 64, 12, 12, 32)
    ordered = convolution.order(weight, dtype)
    plain = convolution.convolve(ordered, bias, x)
    before = torch.randn(1, 32, 20, 12).to(dtype).contiguous(memory_format=layout)
    for add in (False, True):
        into = before.clone()
        rows = into[:, :, 4:16]
        made = convolution.convolve(ordered, bias, x, rows if add else None, out=rows)
        assert made.data_ptr() == rows.data_ptr()
        expected = convolution.convolve(ordered, bias, x, before[:, :, 4:16]) if add else plain
        assert torch.equal(rows, expected)
        assert torch.equal(into[:, :, :4], before[:, :, :4])
        assert torch.equal(into[:, :, 16:], before[:, :, 16:])


def test_a_picture_is_the_same_in_any_company_and_by_any_number_of_threads(dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, 3, 64, 30, 22, 160)
    ordered, threads = convolution.order(weight, dtype), torch.get_num_threads()
    together = convolution.convolve(ordered, bias, x)
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert torch.equal(convolution.convolve(ordered, bias, x[1:2]), together[1:2])
    finally:
        torch.set_num_threads(threads)


def test_what_is_no_number_stays_none_and_harms_its_neighbours_alone(dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, 1, 32, 32, 32, 32)
    x[0, 5, 10, 10] = torch.nan
    lost = convolution.convolve(convolution.order(weight, dtype), bias, x)[0].isnan().any(dim=0)
    assert lost[9:12, 9:12].all()
    assert lost.sum() <= 16  # four spots of 2 x 2 see the place, or one of 4 x 4


def test_where_it_pays(dtype: torch.dtype) -> None:
    x, weight, _ = drawn(dtype, 1, 64, 32, 32, 96)
    assert convolution.pays(x, weight)
    assert convolution.pays(x[:, :, :16, :16], weight, doubled=True)
    for other in (
        convolution.pays(x[:, :, :8, :8], weight),  # too few spots
        convolution.pays(x.double(), weight.double()),
        convolution.pays(x[:, :40], weight[:, :40]),
        convolution.pays(x, weight[:40]),
        convolution.pays(x, weight[:, :, :2, :2]),
    ):
        assert not other


def test_a_packed_convolution_takes_it_only_when_it_may(dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, 1, 64, 32, 32, 64)
    layer = nn.Conv2d(64, 64, 3, padding=1)
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias.to(dtype))
    made = {kernels: nn.Sequential(layer) for kernels in (False, True)}
    for kernels, one in made.items():
        packed.pack(one, kernels=kernels)
    ours = convolution.convolve(convolution.order(weight, dtype), bias.to(dtype).float(), x, x)
    assert torch.equal(made[True][0](x, x), ours)
    assert not torch.equal(made[False][0](x, x), ours)


@pytest.mark.parametrize("side", [8, 32])
def test_a_shift_of_each_image_is_added_whoever_convolves(side: int, dtype: torch.dtype) -> None:
    x, weight, bias = drawn(dtype, 2, 64, side, side, 64)
    layer = nn.Conv2d(64, 64, 3, padding=1)
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias.to(dtype))
    shift = torch.randn(2, 64).to(dtype)
    expected = F.conv2d(x.double(), weight.double(), bias.to(dtype).double(), padding=1)
    for kernels in (False, True):
        made = nn.Sequential(copy.deepcopy(layer))
        packed.pack(made, kernels=kernels)
        assert error(made[0](x, None, shift), expected + shift.double()[:, :, None, None]) < WITHIN[dtype]


@pytest.fixture
def codec() -> VAE:
    torch.manual_seed(0)
    return VAE(VAEConfig(channels=4, widths=(32, 64), blocks=1, groups=8, scale=1.0)).eval().requires_grad_(False)


@pytest.mark.parametrize("batch", [1, 2])
def test_an_autoencoder_takes_it_alone_by_strips_and_together(
    batch: int, codec: VAE, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    latents, images = torch.randn(batch, 4, 24, 24), torch.rand(batch, 3, 48, 48)
    expected, coded = codec.decode(latents), codec.encode(images)
    monkeypatch.setattr(strips, "NUMBERS", 64 * 24 * 12)
    called: list[bool] = []
    kernel = convolution.kernel(dtype)
    assert kernel is not None

    def counted(*given: Tensor, doubled: bool, **how: Any) -> Tensor:
        called.append(doubled)
        return kernel.convolve(*given, doubled=doubled, **how)

    monkeypatch.setattr(convolution, "kernel", lambda dtype: replace(kernel, convolve=counted))
    engine.prepare(codec, dtype)
    assert codec.decoder.mid_block.attentions[0].attend is attention.attend
    found = codec.decode(latents.to(dtype))
    assert float((found.float() - expected).norm() / expected.norm()) < NEAR[dtype]
    assert True in called and False in called if batch == 1 else called
    assert float((codec.encode(images.to(dtype)).float() - coded).norm() / coded.norm()) < NEAR[dtype]


def test_without_kernels_an_autoencoder_stays_as_it_is(
    codec: VAE, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    engine.prepare(codec, dtype, compile="off")
    quick = convolution.QuickConvolution | norm.QuickNorm
    assert not any(isinstance(layer, quick) for layer in codec.modules())


def test_names_of_weights_stay(codec: VAE, tmp_path: Path) -> None:
    before = {name: one.shape for name, one in codec.state_dict().items()}
    quicken(codec)
    assert {name: one.shape for name, one in codec.state_dict().items()} == before
