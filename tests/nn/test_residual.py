"""Residual blocks, halving and doubling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limner.nn.residual import Downsample, ResidualBlock, Upsample


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def test_a_block_is_two_convolutions_beside_a_shortcut_and_is_told_the_time_between_them() -> None:
    block = ResidualBlock(8, 16, groups=4, eps=1e-5, time=6)
    names = ["norm1", "conv1", "time_emb_proj", "norm2", "conv2", "conv_shortcut"]
    assert [name for name, _ in block.named_children()] == names
    x, time = torch.randn(2, 8, 5, 7), torch.randn(2, 6)
    h = block.conv1(F.silu(F.group_norm(x, 4, eps=1e-5)))
    h = h + F.linear(F.silu(time), block.time_emb_proj.weight, block.time_emb_proj.bias)[..., None, None]
    wanted = block.conv2(F.silu(F.group_norm(h, 4, eps=1e-5))) + block.conv_shortcut(x)
    torch.testing.assert_close(block(x, time), wanted)


def test_without_time_and_change_of_channels_there_are_no_weights_for_them() -> None:
    block = ResidualBlock(8, 8, groups=4, eps=1e-5)
    assert {name.split(".")[0] for name in block.state_dict()} == {"norm1", "conv1", "norm2", "conv2"}
    nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(block.conv2.bias)
    x = torch.randn(2, 8, 5, 7)
    assert block(x).equal(x)


def test_what_it_reads_stays_as_it_was_and_without_gradients_it_says_the_same() -> None:
    block = ResidualBlock(8, 8, groups=4, eps=1e-5)
    x = torch.randn(2, 8, 5, 7)
    before = x.clone()
    wanted = block(x).detach()
    with torch.no_grad():
        assert block(x).equal(wanted)
    assert x.equal(before)


def test_sides_halve_and_double_and_channels_last_is_kept() -> None:
    x = torch.randn(2, 8, 6, 10).contiguous(memory_format=torch.channels_last)
    for layer, shape in ((Downsample(8), (2, 8, 3, 5)), (Upsample(8), (2, 8, 12, 20))):
        out = layer(x)
        assert out.shape == shape
        assert out.is_contiguous(memory_format=torch.channels_last)
