from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from limner.core import InputError
from limner.process.diffusion import CLEAN, Level, NoiseSchedule, ScheduleConfig

SCHEDULE = NoiseSchedule(ScheduleConfig())
KINDS = ["scaled_linear", "linear", "squaredcos_cap_v2"]


def test_stable_diffusion_s_noise_goes_from_0_0292_to_14_6146() -> None:
    assert len(SCHEDULE) == 1000
    assert SCHEDULE.ratios[[0, -1]].tolist() == pytest.approx([0.0292, 14.6146], abs=1e-4)
    betas = 1 - SCHEDULE.alphas_cumprod[1:] / SCHEDULE.alphas_cumprod[:-1]
    assert betas[[0, -1]].tolist() == pytest.approx([0.00085, 0.012], abs=3e-5)
    roots = betas.sqrt()
    torch.testing.assert_close(roots.diff(), torch.full((998,), (roots[-1] - roots[0]).item() / 998).double())


@pytest.mark.parametrize("kind", KINDS)
def test_noise_only_grows(kind: Any) -> None:
    for zero in (False, True):
        schedule = NoiseSchedule(ScheduleConfig(kind=kind, times=200, zero_terminal_snr=zero))
        assert (schedule.alphas_cumprod.diff() < 0).all()
        assert (schedule.ratios.diff() > 0).all()


def test_the_squared_cosine_is_one() -> None:
    kept = NoiseSchedule(ScheduleConfig(kind="squaredcos_cap_v2", times=100)).alphas_cumprod
    angle = (torch.arange(1, 101).double() / 100 + 0.008) / 1.008 * math.pi / 2
    wanted = angle.cos().square() / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(kept[:-1], wanted[:-1])
    assert kept[-1] == pytest.approx(0.001 * kept[-2])  # the last beta would be 1


@pytest.mark.parametrize("kind", KINDS)
def test_zero_terminal_snr_keeps_the_first_time_and_leaves_nothing_at_the_last(kind: Any) -> None:
    usual = NoiseSchedule(ScheduleConfig(kind=kind)).alphas_cumprod.sqrt()
    moved = NoiseSchedule(ScheduleConfig(kind=kind, zero_terminal_snr=True))
    assert moved.alphas_cumprod[-1] == 0.0
    torch.testing.assert_close(moved.alphas_cumprod[0].sqrt(), usual[0])
    falls = moved.alphas_cumprod.sqrt().diff() / usual.diff()
    torch.testing.assert_close(falls, falls[0].expand(999))  # stretched evenly
    assert moved.ratios.isfinite().all()
    assert moved.level(999) == Level(999.0, alpha=0.0, sigma=1.0)


def test_times_and_ratios_are_each_other_s_inverse_on_training_times() -> None:
    t = torch.arange(1000).double()
    torch.testing.assert_close(SCHEDULE.ratio_at(t), SCHEDULE.ratios)
    torch.testing.assert_close(SCHEDULE.time_of(SCHEDULE.ratios), t)


def test_between_training_times_ratios_lie_on_lines_and_times_on_lines_in_the_logarithm() -> None:
    low, high = SCHEDULE.ratios[600:602].tolist()
    assert SCHEDULE.ratio_at(torch.tensor([600.25]).double()).item() == pytest.approx(0.75 * low + 0.25 * high)
    between = torch.tensor([low**0.75 * high**0.25, 0.001, 100.0]).double()
    assert SCHEDULE.time_of(between).tolist() == pytest.approx([600.25, 0.0, 999.0])


def test_levels_keep_the_variance() -> None:
    for level in (SCHEDULE.level(0), SCHEDULE.level(700), Level.of(3.0, t=5.0), CLEAN):
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1.0)
    assert Level.of(3.0, t=5.0).ratio == pytest.approx(3.0)
    assert SCHEDULE.level(700).ratio == pytest.approx(SCHEDULE.ratios[700].item())
    x0, eps = torch.randn(2, 1, 4, 2, 2, generator=torch.Generator().manual_seed(0)).unbind()
    assert CLEAN.mix(x0, eps).equal(x0)
    torch.testing.assert_close(Level(1.0, 0.6, 0.8).mix(x0, eps), 0.6 * x0 + 0.8 * eps)


def test_each_row_of_a_batch_has_the_factors_of_its_time() -> None:
    like = torch.zeros(3, 4, 2, 2)
    alpha, sigma = SCHEDULE.factors(torch.tensor([0, 500, 999]), like=like)
    assert alpha.shape == sigma.shape == (3, 1, 1, 1)
    assert alpha.dtype == like.dtype
    for row, t in enumerate((0, 500, 999)):
        level = SCHEDULE.level(t)
        assert (alpha[row].item(), sigma[row].item()) == pytest.approx((level.alpha, level.sigma))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"times": 1}, "times = 1 is not from 2"),
        ({"first": 0.5, "last": 0.1}, "first = 0.5 to last = 0.1"),
        ({"last": 1.0}, "last = 1.0"),
    ],
)
def test_impossible_schedules_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ScheduleConfig(**values)
