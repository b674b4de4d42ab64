"""Solvers against the exact solution for Gaussian data, whose ideal denoiser and flow are known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from limner.core import InputError
from limner.process.diffusion import CLEAN, Level, NoiseSchedule, ScheduleConfig
from limner.process.predictions import PREDICTIONS
from limner.process.solvers import SOLVERS, Solver, build, start_at
from limner.process.solvers.dpmpp_sde import DPMppSDE
from limner.process.solvers.lms import adams_bashforth

SCHEDULE = NoiseSchedule(ScheduleConfig())
MEAN, SPREAD = 0.4, 0.7  # of the data
WAYS = [(name, spacing) for name, kind in SOLVERS.items() for spacing in kind.grid.spacings]
DETERMINISTIC = [(name, spacing) for name, spacing in WAYS if SOLVERS[name].usual_eta in (None, 0.0) and name != "lcm"]
STOCHASTIC = [name for name, kind in SOLVERS.items() if kind.usual_eta == 1.0]


def variance(level: Level) -> float:
    return (level.alpha * SPREAD) ** 2 + level.sigma**2


def ideal(x: Tensor, level: Level, prediction: str = "epsilon") -> Tensor:
    """What a perfect network says of x."""
    x0 = MEAN + level.alpha * SPREAD**2 / variance(level) * (x - level.alpha * MEAN)
    eps = (x - level.alpha * x0) / level.sigma
    return PREDICTIONS[prediction].target(x0, eps, level.alpha, level.sigma)


def flow(x: Tensor, here: Level, there: Level) -> Tensor:
    """Where the probability flow takes x: it keeps (x - mean) / standard deviation."""
    return there.alpha * MEAN + (x - here.alpha * MEAN) * math.sqrt(variance(there) / variance(here))


def samples(seed: int, side: int = 16) -> Tensor:
    return torch.randn(1, 1, side, side, generator=Generator().manual_seed(seed), dtype=torch.float64)


def drawn(solver: Solver, *, side: int = 16, prediction: str = "epsilon", until: int = 0) -> tuple[Tensor, Level]:
    """From noised data until so many calls are left. Where x began, and at which level."""
    solver.x = began = solver.noised(MEAN + SPREAD * samples(1, side), samples(2, side))
    level, generator = solver.level, Generator().manual_seed(0)
    while solver.call < solver.calls - until:
        solver.take(ideal(solver.x, solver.level, prediction), generator)
    return began, level


ORDERS = {"ddim": 0.9, "euler": 0.95, "heun": 1.95, "pndm": 1.5, "dpmpp_2m": 1.95, "unipc": 2.95, "lms": 3.3}


@pytest.mark.parametrize("name", ORDERS)
def test_a_solver_converges_at_its_order_to_the_exact_flow(name: str) -> None:
    """The last call is left out: it is an infinite step, whose error no number of steps makes less."""
    errors = []
    for steps in (40, 80):
        solver = build(name, SCHEDULE, steps=steps, spacing="karras" if name not in ("ddim", "pndm") else None)
        began, level = drawn(solver, until=1)
        errors.append((solver.x - flow(began, level, solver.level)).abs().max().item())
    assert errors[1] < errors[0] / 2 ** ORDERS[name]


@pytest.mark.parametrize(("name", "spacing"), DETERMINISTIC)
def test_every_spacing_and_every_start_lead_to_the_same_picture(name: str, spacing: str) -> None:
    for start in (0, 1, 60):
        solver = build(name, SCHEDULE, steps=100, spacing=spacing, start=start)
        began, level = drawn(solver)
        exact = flow(began, level, CLEAN)
        assert (solver.x - exact).square().mean().sqrt() < (0.05 if name in ("ddim", "euler") else 0.006)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_new_noise_leads_to_the_mean_and_the_variance_of_data(name: str) -> None:
    solver = build(name, SCHEDULE, steps=400)
    drawn(solver, side=64)
    assert abs(solver.x.mean() - MEAN) < 0.03
    assert abs(solver.x.std() - SPREAD) < 0.03


def test_a_consistency_model_s_jumps_stay_in_the_data() -> None:
    """A network that knows where the flow ends, from every level, is right after one jump and after eight."""
    for steps in (1, 2, 8):
        solver, generator = build("lcm", SCHEDULE, steps=steps), Generator().manual_seed(0)
        solver.begin(samples(1, 64))
        while not solver.done:
            end = flow(solver.x, solver.level, CLEAN)
            solver.take((solver.x - solver.level.alpha * end) / solver.level.sigma, generator)
        assert abs(solver.x.mean() - MEAN) < 0.05
        assert abs(solver.x.std() - SPREAD) < 0.03


@pytest.mark.parametrize("name", ["dpmpp_2m_sde", "dpmpp_sde", "euler_ancestral", "ddpm"])
def test_without_eta_a_stochastic_solver_is_a_deterministic_one(name: str) -> None:
    solver = build(name, SCHEDULE, steps=80, eta=0.0)
    began, level = drawn(solver)
    assert (solver.x - flow(began, level, CLEAN)).square().mean().sqrt() < 0.05


def test_with_eta_0_the_same_step_has_different_names() -> None:
    pairs = {"dpmpp_2m_sde": ("dpmpp_2m", "karras"), "euler_ancestral": ("euler", "karras")}
    for name, (other, spacing) in pairs.items():
        one = build(name, SCHEDULE, steps=9, spacing=spacing, eta=0.0)
        two = build(other, SCHEDULE, steps=9, spacing=spacing)
        drawn(one), drawn(two)
        torch.testing.assert_close(one.x, two.x)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", [name for name in SOLVERS if name != "pndm"])  # which mixes outputs, whatever they are
def test_what_the_network_predicts_does_not_matter(name: str, prediction: str) -> None:
    one, two = (build(name, SCHEDULE, steps=6, prediction=kind) for kind in ("epsilon", prediction))
    drawn(one), drawn(two, prediction=prediction)
    torch.testing.assert_close(one.x, two.x)


@pytest.mark.parametrize("prediction", ["v_prediction", "sample", "flow"])
@pytest.mark.parametrize("name", SOLVERS)
def test_zero_terminal_snr_begins_with_pure_noise(name: str, prediction: str) -> None:
    schedule = NoiseSchedule(ScheduleConfig(zero_terminal_snr=True))
    solver = build(name, schedule, steps=20, spacing="trailing", prediction=prediction)
    drawn(solver, prediction=prediction)
    assert solver.x.isfinite().all()
    assert abs(solver.x.mean() - MEAN) < 0.1
    with pytest.raises(InputError, match="says nothing: use v_prediction"):
        build(name, schedule, steps=20, spacing="trailing")


# ---------------------------------------------------------------------------------------------------
# One picture's state.


@pytest.mark.parametrize(("name", "spacing"), WAYS)
@pytest.mark.parametrize("start", [0, 1, 6, 7])
def test_calls_are_counted_and_end(name: str, spacing: str, start: int) -> None:
    steps, solver = 8 - start, build(name, SCHEDULE, steps=8, spacing=spacing, start=start)
    more = {"heun": steps - 1, "dpmpp_sde": steps - 1, "pndm": min(steps - 1, 1)}
    assert solver.calls == steps + more.get(name, 0)
    assert solver.x0 is None
    solver.begin(samples(1).float())
    ratios = []
    for call in range(solver.calls):
        assert not solver.done
        assert solver.call == call
        assert solver.t == solver.level.t
        ratios.append(solver.level.ratio)
        solver.take(torch.zeros_like(solver.x), Generator())
        assert solver.x0 is not None
    assert ratios == sorted(ratios, reverse=True)
    assert solver.done
    assert solver.level == CLEAN
    assert solver.x.dtype == torch.float32
    assert solver.x.isfinite().all()
    with pytest.raises(AssertionError):
        solver.take(torch.zeros_like(solver.x), Generator())


@pytest.mark.parametrize(("name", "spacing"), DETERMINISTIC)
def test_a_deterministic_solver_draws_nothing(name: str, spacing: str) -> None:
    solver, generator = build(name, SCHEDULE, steps=5, spacing=spacing), Generator().manual_seed(0)
    before = generator.get_state()
    solver.begin(samples(1))
    while not solver.done:
        solver.take(ideal(solver.x, solver.level), generator)
    assert generator.get_state().equal(before)


@pytest.mark.parametrize("name", [*STOCHASTIC, "lcm"])
def test_a_stochastic_solver_draws_from_the_picture_s_generator_alone(name: str) -> None:
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(found))
        solver, generator = build(name, SCHEDULE, steps=5), Generator().manual_seed(seed)
        solver.begin(samples(1))
        while not solver.done:
            solver.take(ideal(solver.x, solver.level), generator)
        found.append(solver.x)
    assert found[0].equal(found[1])
    assert not found[0].allclose(found[2])


@pytest.mark.parametrize("name", SOLVERS)
def test_what_is_painted_over_between_calls_counts(name: str) -> None:
    """A picture of which all is known comes back, whatever the network says."""
    solver, known = build(name, SCHEDULE, steps=6), samples(3)
    solver.begin(samples(1))
    while not solver.done:
        solver.take(torch.tanh(solver.x), Generator().manual_seed(0))
        solver.x = solver.noised(known, samples(1))
    torch.testing.assert_close(solver.x, known)


@pytest.mark.parametrize("name", SOLVERS)
def test_an_output_in_half_precision_is_taken(name: str) -> None:
    solver = build(name, SCHEDULE, steps=3)
    solver.begin(samples(1).float())
    while not solver.done:
        solver.take(torch.zeros_like(solver.x, dtype=torch.bfloat16), Generator())
    assert solver.x.dtype == torch.float32


def test_a_brownian_path_s_halves_belong_to_the_whole() -> None:
    """Noise for half a step and for all of it has a variance of 1 each, and the covariance of one path."""
    solver = DPMppSDE(SCHEDULE, steps=5)
    solver.x, solver._generator = torch.zeros(1, 1, 300, 300), Generator().manual_seed(0)
    here, there = solver.pairs[1]
    middle = solver.between(here, there)
    half, whole = solver.brownian(here, middle, there)
    share = (here.ratio - middle.ratio) / (here.ratio - there.ratio)
    assert (half * whole).mean().item() == pytest.approx(math.sqrt(share), abs=0.01)
    assert half.var().item() == pytest.approx(1.0, abs=0.02)
    assert whole.var().item() == pytest.approx(1.0, abs=0.02)


def test_adams_and_bashforth_s_shares() -> None:
    """On even steps they are the textbook's; on uneven ones they are exact for polynomials."""
    wanted = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]
    for order, shares in enumerate(wanted, start=1):
        assert adams_bashforth([float(-place) for place in range(order)], 1.0) == pytest.approx(shares)
    places = [0.3, 0.9, 2.0, 2.2]
    for power in range(4):
        mean = sum(share * place**power for share, place in zip(adams_bashforth(places, 0.1), places, strict=True))
        assert mean == pytest.approx((0.1 ** (power + 1) - 0.3 ** (power + 1)) / (power + 1) / (0.1 - 0.3))


def test_strength_is_the_share_of_steps_that_are_taken() -> None:
    """Rounded down, in floats, as diffusers does."""
    assert [start_at(20, strength=strength) for strength in (1.0, 0.6, 0.55, 0.05)] == [0, 8, 9, 19]
    assert start_at(50, strength=0.58) == 22
    with pytest.raises(InputError, match=r"strength = 0\.01 of steps = 20 leaves no step"):
        start_at(20, strength=0.01)
