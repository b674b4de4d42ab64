from __future__ import annotations

import numpy as np
import pytest
import torch

from limner.codecs.klt import KLT
from limner.core import InputError


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(64, 3, 4, 4, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=16, mode="bilinear", align_corners=False)


def test_all_channels_lose_nothing(images: torch.Tensor) -> None:
    codec = KLT(patch=4, channels=48)
    codec.fit(images)
    torch.testing.assert_close(codec.decode(codec.encode(images)), images, atol=1e-5, rtol=0)


def test_it_loses_what_numpy_says_the_best_linear_map_of_that_rank_loses(images: torch.Tensor) -> None:
    codec = KLT(patch=4, channels=6)
    codec.fit(images)
    lost = (codec.decode(codec.encode(images)) - images).square().sum()
    rows = images.reshape(64, 3, 4, 4, 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, 48).double().numpy()
    tail = np.linalg.svd(rows - rows.mean(0), compute_uv=False)[6:]
    assert float(lost) == pytest.approx(float((tail**2).sum()), rel=1e-4)


def test_the_basis_is_orthonormal_and_the_spread_is_the_latents(images: torch.Tensor) -> None:
    codec = KLT(patch=4, channels=6)
    codec.fit(images)
    torch.testing.assert_close(codec.basis @ codec.basis.T, torch.eye(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(codec.encode(images).std(dim=(0, 2, 3), correction=0), codec.spread, rtol=1e-3, atol=0)


def test_more_channels_than_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="channels = 49 is more than the 48"):
        KLT(patch=4, channels=49)
