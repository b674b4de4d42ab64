"""The solvers against the exact solution of the flow of Gaussian data, which is known in closed form."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from limner.process.guidance import guide
from limner.process.rectified import Wiener, logit_normal, mix, times
from limner.process.samplers import SOLVERS, Solver

SIGMA = 0.7


def ideal(x: Tensor, t: Tensor) -> Tensor:
    """E[x0 | x_t] of data N(0, SIGMA^2)."""
    return Wiener(t, torch.tensor([SIGMA], dtype=x.dtype)).keep * x


def solve(solver: Solver, steps: int, *, start: Tensor) -> Tensor:
    grid = times(steps, shift=1.0).double()
    x, before, t_before = start.clone(), torch.zeros_like(start), torch.full((len(start),), math.nan).double()
    for t, t_next in itertools.pairwise(grid):
        rows = t.expand(len(x))
        x0 = ideal(x, rows)
        x = solver(x, x0, before, rows, t_next.expand(len(x)), t_before)
        before, t_before = x0, rows
    return x


@pytest.mark.parametrize(("name", "order"), [("euler", 0.9), ("dpm++2m", 1.35)])
def test_a_solver_converges_at_its_order_to_the_exact_flow(name: str, order: float) -> None:
    start = torch.randn(4, 1, 1, 1, dtype=torch.float64)
    exact = SIGMA * start  # the flow keeps x_t / std(x_t), and std is 1 at t = 1
    errors = [(solve(SOLVERS[name], steps, start=start) - exact).abs().max().item() for steps in (16, 64)]
    assert errors[1] < errors[0] / 4**order


def test_a_row_is_solved_the_same_beside_rows_at_other_times() -> None:
    x, x0, before = torch.randn(3, 3, 2, 2, 2).unbind()
    t, t_next = torch.tensor([1.0, 0.6, 0.2]), torch.tensor([0.8, 0.5, 0.0])
    t_before = torch.tensor([math.nan, 0.9, 0.4])
    for solver in SOLVERS.values():
        together = solver(x, x0, before, t, t_next, t_before)
        assert torch.isfinite(together).all()
        for row in range(3):
            one = slice(row, row + 1)
            alone = solver(x[one], x0[one], before[one], t[one], t_next[one], t_before[one])
            torch.testing.assert_close(alone, together[one])


def test_the_last_step_of_every_solver_is_the_prediction() -> None:
    x, x0, before = torch.randn(3, 1, 2, 2, 2).unbind()
    for solver in SOLVERS.values():
        end = solver(x, x0, before, torch.tensor([0.3]), torch.tensor([0.0]), torch.tensor([0.5]))
        torch.testing.assert_close(end, x0)


def test_wiener_is_the_least_squares_denoiser_and_says_its_own_error() -> None:
    generator = torch.Generator().manual_seed(0)
    sigma, t = torch.tensor([3.0, 0.2]), torch.full((200_000,), 0.6)
    x0 = sigma[:, None, None] * torch.randn(len(t), 2, 1, 1, generator=generator)
    noisy = mix(x0, torch.randn(x0.shape, generator=generator), t)
    wiener = Wiener(t, sigma)
    error = (wiener.keep * noisy - x0).square().mean(dim=(0, 2, 3)).sqrt()
    torch.testing.assert_close(error, wiener.left[0, :, 0, 0], rtol=0.01, atol=0.0)
    torch.testing.assert_close((wiener.shrink * noisy).std(dim=(0, 2, 3)), torch.ones(2), rtol=0.01, atol=0.0)


def test_training_times_have_the_density_that_they_say() -> None:
    t = logit_normal(100_000, mean=1.0, spread=1.4, generator=torch.Generator().manual_seed(0))
    logit = torch.logit(t.double())
    assert abs(logit.mean() - 1.0) < 0.01
    assert abs(logit.std() - 1.4) < 0.01


def test_sampling_times_end_at_noise_and_data_and_shift_towards_noise() -> None:
    even, shifted = times(10, shift=1.0), times(10, shift=3.0)
    assert even[0] == shifted[0] == 1.0
    assert even[-1] == shifted[-1] == 0.0
    torch.testing.assert_close(even, torch.linspace(1, 0, 11))
    assert (shifted[1:-1] > even[1:-1]).all()


def test_guidance_of_one_is_none_and_of_nought_is_unconditional() -> None:
    cond, uncond = torch.randn(2, 3, 4, 2, 2).unbind()
    torch.testing.assert_close(guide(cond, uncond, torch.ones(3)), cond)
    torch.testing.assert_close(guide(cond, uncond, torch.zeros(3)), uncond)
    torch.testing.assert_close(guide(cond, uncond, torch.full((3,), 3.0)), uncond + 3 * (cond - uncond))


def test_the_multistep_solver_is_nearer_than_euler_for_the_same_evaluations() -> None:
    start = torch.randn(4, 1, 1, 1, dtype=torch.float64)
    errors = {name: (solve(solver, 16, start=start) - SIGMA * start).abs().max() for name, solver in SOLVERS.items()}
    assert errors["dpm++2m"] < errors["euler"] / 2
