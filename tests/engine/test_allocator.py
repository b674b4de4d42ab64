"""Memory that the next map of its size takes over, and not before all views of the last one are gone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.engine.allocator import LEAST, MOST, Pool, apart

BF16 = torch.bfloat16


@pytest.fixture
def pool() -> Pool:
    return Pool()


def test_what_nobody_holds_goes_to_the_next_of_about_that_size(pool: Pool) -> None:
    first = pool.empty((3, LEAST), BF16)
    place, view = first.data_ptr(), first[1:, ::2]
    del first
    assert pool.empty((3, LEAST), BF16).data_ptr() != place  # a view of it is there
    del view
    other = pool.empty((2, LEAST + 1), BF16)
    assert other.data_ptr() == place
    assert other.shape == (2, LEAST + 1)
    assert other.dtype is BF16
    assert pool.empty((4, LEAST), BF16).data_ptr() != place  # it is held again


def test_maps_that_are_there_together_share_nothing(pool: Pool) -> None:
    maps = [pool.empty((LEAST, 1), BF16).fill_(number) for number in range(8)]
    assert [float(one.float().mean()) for one in maps] == list(range(8))


def test_channels_last(pool: Pool) -> None:
    x = pool.empty_channels_last((2, 320, 16, 8), BF16)
    assert x.shape == (2, 320, 16, 8)
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_small_ones_and_large_ones_are_not_kept(pool: Pool) -> None:
    for bytes in (2, LEAST // 2, 2 * MOST):
        pool.empty((bytes // 2,), BF16)
    pool.empty((0, 4), BF16)
    assert not pool._left


def test_what_is_left_is_returned(pool: Pool) -> None:
    pool.empty((MOST // 2,), BF16).zero_()
    before = resident()
    pool.clear()
    assert resident() < before - MOST // 2
    held = pool.empty((MOST // 2,), BF16).zero_()
    pool.clear()
    assert int(held.sum()) == 0


def test_what_lies_apart_is_returned_as_soon_as_it_is_freed() -> None:
    before = resident()
    held = apart((1 << 13, 1 << 12), BF16).zero_()
    assert resident() > before + (1 << 25)
    del held
    assert resident() < before + (1 << 25)


def resident() -> int:
    """Bytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmRSS"))
