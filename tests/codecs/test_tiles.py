"""Tiles: what they cover, how they share, and that nothing is seen of them where the code is local."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from limner.codecs.tiles import fade, starts, tiled


@st.composite
def layouts(draw: st.DrawFn) -> dict[str, Any]:
    side = draw(st.integers(2, 12))
    return {"size": draw(st.integers(1, 60)), "side": side, "overlap": draw(st.integers(1, side - 1))}


@given(layouts())
def test_tiles_cover_the_map_sharing_what_they_must(layout: dict[str, Any]) -> None:
    size, side, overlap = layout["size"], layout["side"], layout["overlap"]
    places = starts(size, side, overlap)
    assert places[0] == 0
    assert places[-1] == max(size - side, 0)
    assert all(0 < after - before <= side - overlap for before, after in pairwise(places))


@given(layouts())
def test_there_are_no_more_tiles_than_must_be(layout: dict[str, Any]) -> None:
    size, side, overlap = layout["size"], layout["side"], layout["overlap"]
    fewer = len(starts(size, side, overlap)) - 1
    assert fewer == 0 or side + (fewer - 1) * (side - overlap) < size


def test_a_tile_fades_to_both_sides() -> None:
    like = torch.zeros(1)
    assert fade(8, 4, like=like).tolist() == [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert fade(5, 2, like=like).tolist() == [0.5, 1.0, 1.0, 1.0, 0.5]
    assert fade(3, 4, like=like).tolist() == [0.25, 0.5, 0.25]


@pytest.mark.parametrize(("height", "width"), [(5, 5), (8, 8), (9, 20), (31, 13)])
def test_what_all_tiles_agree_on_stands(height: int, width: int) -> None:
    """Codes that see a place alone, of the same size, larger and smaller."""
    latents = torch.randn(2, 3, height, width)
    pixels = torch.randn(2, 3, 4 * height, 4 * width)
    torch.testing.assert_close(tiled(lambda x: x, latents, side=8, overlap=3), latents)
    doubled = tiled(lambda x: F.interpolate(x, scale_factor=2.0), latents, side=8, overlap=3, writes=2)
    torch.testing.assert_close(doubled, F.interpolate(latents, scale_factor=2.0))
    halved = tiled(lambda x: F.avg_pool2d(x, 4), pixels, side=8, overlap=3, reads=4)
    torch.testing.assert_close(halved, F.avg_pool2d(pixels, 4))


def test_where_two_disagree_the_one_becomes_the_other_evenly() -> None:
    tones = iter([0.0, 1.0])

    def code(x: Tensor) -> Tensor:
        return torch.full_like(x, next(tones))

    row = tiled(code, torch.zeros(1, 1, 4, 20), side=12, overlap=4)[0, 0, 2]
    torch.testing.assert_close(row[8:12], torch.tensor([0.2, 0.4, 0.6, 0.8]))
    assert row[:8].eq(0.0).all()
    assert row[12:].eq(1.0).all()


def test_no_tile_is_larger_than_its_side_and_the_result_is_in_the_dtype_given() -> None:
    seen = []

    def code(x: Tensor) -> Tensor:
        seen.append(tuple(x.shape[2:]))
        return x

    found = tiled(code, torch.randn(1, 2, 21, 6, dtype=torch.bfloat16), side=8, overlap=2)
    assert found.dtype is torch.bfloat16
    assert seen == [(8, 6)] * 4
