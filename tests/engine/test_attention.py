"""The compiled attention against torch's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.engine import attention
from limner.engine.kernels import HALVES
from limner.nn.attention import attend as plain
from tests.engine.kernel import error, with_kernel

pytestmark = pytest.mark.usefixtures("each_machine")
LITTLE = {torch.bfloat16: 1e-4, torch.float32: 2e-6}  # that it may be further off than torch


@pytest.fixture(autouse=True)
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is kept from or for others."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with torch.no_grad():
        yield


def maps(dtype: torch.dtype, batch: int, heads: int, queries: int, keys: int, channels: int) -> list[Tensor]:
    """As layers give them: (B, H, N, D), the heads of a token side by side."""
    counts = (queries, keys, keys)
    return [torch.randn(batch, count, heads, channels).to(dtype).transpose(1, 2) for count in counts]


def exact(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query.double(), key.double(), value.double())


@with_kernel
@pytest.mark.parametrize(
    "sizes",
    [
        (2, 8, 300, 300, 40), (1, 2, 1024, 1024, 80), (1, 1, 64, 64, 160), (1, 3, 70, 1100, 64), (2, 4, 96, 77, 40),
        (1, 1, 1, 1, 8), (3, 1, 33, 31, 1), (1, 2, 45, 513, 17), (1, 1, 40, 512, 256),
        (1, 1, 70, 300, 512),
    ],
)  # fmt: skip
def test_it_is_as_right_as_torchs_own(
    sizes: tuple[int, int, int, int, int], each_machine: str, dtype: torch.dtype
) -> None:
    """Of scores in half precision the large ones are less so."""
    torch.manual_seed(0)
    query, key, value = maps(dtype, *sizes)
    kernel = attention.kernel(dtype)
    assert kernel is not None
    expected = exact(3.0 * query, key, value)
    found = kernel(3.0 * query, key, value)
    assert found.shape == query.shape
    assert found.dtype is dtype
    torchs = error(plain(3.0 * query, key, value), expected)
    assert error(found, expected) < (3.0 if each_machine == HALVES else 1.1) * torchs + LITTLE[dtype]
    mild = exact(query, key, value)
    assert error(kernel(query, key, value), mild) < 1.2 * error(plain(query, key, value), mild) + LITTLE[dtype]


@with_kernel
def test_sharp_and_large_scores(each_machine: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    query, key, value = maps(dtype, 1, 2, 64, 700, 40)
    kernel = attention.kernel(dtype)
    assert kernel is not None
    expected = exact(100.0 * query, 10.0 * key, value)  # one key has it all
    assert error(kernel(100.0 * query, 10.0 * key, value), expected) < (8e-2 if each_machine == HALVES else 2e-2)
    rising = torch.linspace(-300.0, 300.0, 700)[:, None].to(dtype).repeat(1, 1, 1, 8)  # a new maximum each time
    one = torch.ones(1, 1, 5, 8).to(dtype)
    assert error(kernel(one, rising, rising), exact(one, rising, rising)) < 1e-2


@with_kernel
def test_what_is_no_number_stays_none_and_harms_no_other(dtype: torch.dtype) -> None:
    query, key, value = maps(dtype, 1, 1, 40, 40, 16)
    query[0, 0, 7] = torch.nan
    kernel = attention.kernel(dtype)
    assert kernel is not None
    found = kernel(query, key, value)[0, 0]
    assert found[7].isnan().all()
    assert found.isnan().any(dim=1).sum() == 1


@with_kernel
def test_a_picture_is_the_same_in_any_company_and_by_any_number_of_threads(dtype: torch.dtype) -> None:
    query, key, value = maps(dtype, 3, 2, 130, 130, 40)
    kernel, threads = attention.kernel(dtype), torch.get_num_threads()
    assert kernel is not None
    together = kernel(query, key, value)
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert torch.equal(kernel(query[1:2], key[1:2], value[1:2]), together[1:2])
    finally:
        torch.set_num_threads(threads)


@with_kernel
def test_what_it_cannot_do_is_torchs(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    able = maps(dtype, 1, 1, 200, 200, 40)
    assert not torch.equal(attention.attend(*able), plain(*able))  # that is the kernel's
    spread = [one.repeat_interleave(2, dim=3)[..., ::2] for one in able]
    for given in (maps(dtype, 1, 1, 200, 200, 520), [one.double() for one in able], spread):
        assert torch.equal(attention.attend(*given), plain(*given))


def test_without_a_kernel_it_is_torchs(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = maps(dtype, 1, 2, 200, 200, 40)
    monkeypatch.setenv("CC", "no-such-compiler")
    assert attention.kernel(dtype) is None
    assert torch.equal(attention.attend(query, key, value), plain(query, key, value))
