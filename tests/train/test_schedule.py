"""Schedules and the average, against closed forms."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from limner.train.ema import Ema
from limner.train.recipe import Optimizer
from limner.train.schedule import RAMP, crossed, ema_decay, rate


def test_rate_rises_stays_and_falls() -> None:
    optimizer = Optimizer(warmup=100, decay=0.5, floor=0.1)
    shares = [rate(optimizer, images=images, passed=images / 1000) for images in (1, 50, 100, 500, 750, 1000)]
    assert shares == pytest.approx([0.01, 0.5, 1.0, 1.0, 0.55, 0.1])


def test_rate_with_nothing_to_rise_or_fall() -> None:
    optimizer = Optimizer(warmup=0, decay=0.0)
    assert [rate(optimizer, images=images, passed=images / 20) for images in (1, 10, 20)] == [1.0, 1.0, 1.0]


def test_decay_halves_over_its_half_life_whatever_the_batch() -> None:
    late = 10**9
    for stride in (1, 10, 500):
        assert ema_decay(late, half_life=1000.0, stride=stride) ** (1000 / stride) == pytest.approx(0.5)


def test_early_on_the_half_life_is_a_share_of_what_was_seen() -> None:
    assert ema_decay(1000, half_life=1e6, stride=int(1000 * RAMP)) == pytest.approx(0.5)
    assert ema_decay(10, half_life=0.0, stride=10) == 0.0


def test_crossed_once_for_each_multiple() -> None:
    stride, every = 12, 50
    hits = [images for images in range(stride, 301, stride) if crossed(images, stride=stride, every=every)]
    assert hits == [60, 108, 156, 204, 252, 300]


def test_ema_is_the_weighted_sum_of_all_weights() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    ema, decay = Ema({"one": parameter}), 0.8
    history = [parameter.detach().clone()]
    for number in range(5):
        parameter.data += torch.tensor([1.0, 0.1 * number], dtype=torch.float64)
        history.append(parameter.detach().clone())
        ema.update(["one"], decay)
    weights = [decay**5] + [(1 - decay) * decay ** (4 - number) for number in range(5)]
    expected = sum(weight * one for weight, one in zip(weights, history, strict=True))
    assert torch.allclose(ema.averages["one"], expected)


def test_ema_is_applied_only_within() -> None:
    parameter = nn.Parameter(torch.tensor([4.0]))
    ema = Ema({"one": parameter})
    parameter.data.fill_(8.0)
    with contextlib.suppress(RuntimeError), ema.applied():
        assert parameter.item() == 4.0
        raise RuntimeError
    assert parameter.item() == 8.0
    assert ema.averages["one"].item() == 4.0
