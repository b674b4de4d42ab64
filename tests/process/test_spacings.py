from __future__ import annotations

import itertools

import pytest
import torch

from limner.core import InputError
from limner.process.diffusion import NoiseSchedule, ScheduleConfig
from limner.process.spacings import IN_TIME, AnyTimes, DistilledTimes, Grid, InnerTimes, WholeTimes

SCHEDULE = NoiseSchedule(ScheduleConfig())
GRIDS = [AnyTimes(), DistilledTimes(), InnerTimes(), WholeTimes()]


def times(grid: Grid, spacing: str, steps: int) -> list[float]:
    return [level.t for level in grid.levels(SCHEDULE, spacing, steps)]


def test_the_known_grids() -> None:
    assert times(WholeTimes(), "leading", 5) == [801, 601, 401, 201, 1]
    assert times(WholeTimes(), "linspace", 5) == [999, 749, 500, 250, 0]
    assert times(WholeTimes(), "trailing", 5) == [999, 799, 599, 399, 199]
    assert times(AnyTimes(), "linspace", 5) == [999, 749.25, 499.5, 249.75, 0]
    assert times(InnerTimes(), "leading", 4) == [801, 601, 401, 201]
    assert times(InnerTimes(), "linspace", 4) == [999, 749, 500, 250]
    assert times(InnerTimes(), "trailing", 4) == [999, 749, 499, 249]
    assert times(DistilledTimes(), "trailing", 4) == [999, 759, 499, 259]
    assert times(DistilledTimes(), "trailing", 50) == list(range(999, 0, -20))


@pytest.mark.parametrize("grid", GRIDS)
def test_every_grid_falls_from_noise_to_data(grid: Grid) -> None:
    for spacing in grid.spacings:
        for steps in (1, 2, 7, 48):
            levels = grid.levels(SCHEDULE, spacing, steps)
            assert len(levels) == steps
            assert all(one.ratio > other.ratio for one, other in itertools.pairwise(levels))
            assert all(0 <= level.t <= 999 for level in levels)
            if spacing != "leading":
                assert levels[0].ratio == pytest.approx(SCHEDULE.ratios[-1].item())


@pytest.mark.parametrize("grid", [AnyTimes(), InnerTimes()])
def test_spacings_in_noise_are_even_in_the_seventh_root_and_in_the_logarithm(grid: Grid) -> None:
    for spacing, even in (("karras", lambda ratio: ratio ** (1 / 7)), ("exponential", torch.log)):
        ratios = torch.tensor([level.ratio for level in grid.levels(SCHEDULE, spacing, 12)]).double()
        gaps = even(ratios).diff()
        torch.testing.assert_close(gaps, gaps[0].expand(11), rtol=1e-5, atol=0.0)
        torch.testing.assert_close(ratios[-1], SCHEDULE.ratios[0])


def test_the_network_is_told_the_time_of_each_level() -> None:
    for spacing in AnyTimes.spacings:
        for level in AnyTimes().levels(SCHEDULE, spacing, 9):
            told = SCHEDULE.time_of(torch.tensor([level.ratio]).double()).item()
            assert level.t == pytest.approx(told, abs=0.01)
            assert abs(level.t - told) < 0.01
    for level in InnerTimes().levels(SCHEDULE, "karras", 9):
        assert level.t == round(SCHEDULE.time_of(torch.tensor([level.ratio]).double()).item())


def test_the_first_noise_has_what_the_first_level_lacks() -> None:
    noisiest = AnyTimes().levels(SCHEDULE, "karras", 5)[0]
    assert AnyTimes().scale("karras", noisiest) == noisiest.sigma
    assert AnyTimes().scale("leading", noisiest) == 1.0
    assert WholeTimes().scale("linspace", noisiest) == 1.0


@pytest.mark.parametrize(("grid", "most"), list(zip(GRIDS, (999, 50, 999, 999), strict=True)))
def test_too_many_and_no_steps_are_refused(grid: Grid, most: int) -> None:
    for spacing in grid.spacings:
        assert len(grid.levels(SCHEDULE, spacing, most)) == most
        for steps in (0, most + 1):
            with pytest.raises(InputError, match=f"steps = {steps} is not from 1 to {most}"):
                grid.levels(SCHEDULE, spacing, steps)


def test_every_spacing_in_time_has_as_many_times_as_steps() -> None:
    for spacing in IN_TIME.values():
        for steps in range(1, 1001):
            found = spacing(1000, steps)
            assert len(found) == steps
            assert found[-1] >= 0
