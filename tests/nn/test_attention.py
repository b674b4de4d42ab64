"""Attention with gradients in bfloat16 on a CPU, which goes another way than torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from limner.nn.attention import attend

TOKENS, KEYS = 5, 7


def parts():
    return [torch.randn(2, 3, count, 8, requires_grad=True) for count in (TOKENS, KEYS, KEYS)]


def masks():
    seen = torch.rand(2, 1, TOKENS, KEYS) > 0.3
    nothing = seen.clone()
    nothing[0, 0, 1] = False  # as for a padded place of a packed row
    return [None, seen, torch.randn(2, 1, 1, KEYS).masked_fill(torch.arange(KEYS) == 2, -torch.inf), nothing]


@pytest.mark.parametrize("number", range(4))
def test_it_is_torchs_with_gradients_near_those_in_float32(number):
    torch.manual_seed(0)
    mask, inputs = masks()[number], parts()
    expected = F.scaled_dot_product_attention(*inputs, attn_mask=mask)
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = attend(*inputs, mask=mask)
    assert torch.allclose(found.float(), expected, atol=0.02)
    for one, other in zip(torch.autograd.grad(found.float().square().sum(), inputs), wanted, strict=True):
        assert torch.isfinite(one).all()
        assert (one - other).norm() <= 0.02 * other.norm()


def test_half_precision_inputs_need_no_autocast():
    inputs = [one.detach().bfloat16().requires_grad_() for one in parts()]
    attend(*inputs).sum().backward()
    assert all(one.grad.dtype is torch.bfloat16 for one in inputs)


@pytest.mark.parametrize("keys", [3, 16, 77])
@pytest.mark.parametrize("masked", [False, True])
def test_in_half_precision_keys_that_fill_no_tile_count_as_they_are(keys, masked):
    torch.manual_seed(0)
    inputs = [torch.randn(2, 3, count, 8) for count in (TOKENS, keys, keys)]
    mask = torch.rand(2, 1, TOKENS, keys) > 0.3 if masked else None
    with torch.no_grad():
        found = attend(*(one.bfloat16() for one in inputs), mask=mask)
    assert found.dtype is torch.bfloat16
    expected = F.scaled_dot_product_attention(*inputs, attn_mask=mask).nan_to_num()
    assert torch.allclose(found.float(), expected, atol=0.03)
