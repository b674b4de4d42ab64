from __future__ import annotations

import math

import pytest
import torch

from limner.core import InputError
from limner.process.diffusion import NoiseSchedule, ScheduleConfig
from limner.process.predictions import PREDICTIONS, min_snr, prediction_named

X0, EPS = torch.randn(2, 2, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind()


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize("angle", [0.1, 0.8, 1.5])
def test_what_was_the_target_is_read_back(name: str, angle: float) -> None:
    kind, alpha, sigma = PREDICTIONS[name], math.cos(angle), math.sin(angle)
    target = kind.target(X0, EPS, alpha, sigma)
    x0, eps = kind.read(target, alpha * X0 + sigma * EPS, alpha, sigma)
    torch.testing.assert_close(x0, X0)
    torch.testing.assert_close(eps, EPS)


def test_the_flow_s_velocity_is_that_of_the_straight_path() -> None:
    """On x = (1 - t) x0 + t eps, where alpha + sigma is 1, it is dx / dt and x0 = x - t v."""
    flow, t = PREDICTIONS["flow"], 0.3
    velocity = flow.target(X0, EPS, 1 - t, t)
    torch.testing.assert_close(velocity, EPS - X0)
    torch.testing.assert_close(flow.read(velocity, (1 - t) * X0 + t * EPS, 1 - t, t)[0], X0)


@pytest.mark.parametrize("name", ["v_prediction", "sample", "flow"])
def test_pure_noise_can_be_read_by_all_but_epsilon(name: str) -> None:
    kind = PREDICTIONS[name]
    x0, eps = kind.read(kind.target(X0, EPS, 0.0, 1.0), EPS, 0.0, 1.0)
    torch.testing.assert_close(x0, X0)
    torch.testing.assert_close(eps, EPS)


@pytest.mark.parametrize("name", PREDICTIONS)
def test_the_slope_is_how_wrong_x0_is(name: str) -> None:
    kind, alpha, sigma = PREDICTIONS[name], *torch.tensor([0.6, 0.8], dtype=torch.float64)
    x, output = 0.6 * X0 + 0.8 * EPS, kind.target(X0, EPS, alpha, sigma)
    moved = kind.read(output + 0.01, x, alpha, sigma)[0] - X0
    torch.testing.assert_close(moved.abs(), (0.01 * kind.slope(alpha, sigma)).expand_as(moved))


def test_min_snr_s_weights_are_the_paper_s() -> None:
    alpha = torch.tensor([0.999, 0.9, 0.6, 0.01]).double()
    sigma = (1 - alpha.square()).sqrt()
    snr = (alpha / sigma).square()
    capped = snr.clamp(max=5.0)
    found = {name: min_snr(kind, alpha, sigma) for name, kind in PREDICTIONS.items()}
    torch.testing.assert_close(found["epsilon"], capped / snr)
    torch.testing.assert_close(found["v_prediction"], capped / (snr + 1))
    torch.testing.assert_close(found["sample"], capped)
    torch.testing.assert_close(found["flow"], capped / (snr.sqrt() + 1).square())
    other = min_snr(PREDICTIONS["sample"], alpha, sigma, gamma=1.0)
    torch.testing.assert_close(other, snr.clamp(max=1.0))


@pytest.mark.parametrize("name", PREDICTIONS)
def test_where_nothing_is_left_of_the_picture_the_weight_is_1(name: str) -> None:
    schedule = NoiseSchedule(ScheduleConfig(zero_terminal_snr=True))
    alpha, sigma = schedule.factors(torch.tensor([998, 999]), like=torch.zeros(2, 1, 1, 1))
    weights = min_snr(PREDICTIONS[name], alpha, sigma).flatten()
    assert weights[1] == 1.0
    assert 0.0 < weights[0] <= 1.0001


def test_an_unknown_prediction_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r'unknown prediction "v_predict" .did you mean "v_prediction"'):
        prediction_named("v_predict")
