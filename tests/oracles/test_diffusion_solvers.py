"""Solvers against diffusers' schedulers, call by call: the same toy denoiser, the same first and injected noise, the
configuration that Stable Diffusion 1.5 comes with.

Ours keep x as the network sees it, which is what `scale_model_input` makes of theirs. Where a spacing is not one of a
scheduler's, as Karras' is not of the ancestral one, it is given the levels of one that has it.

Three of them go astray on some ways, and are told the right one: `Strided` and `Warming` say how.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from limner.process.diffusion import NoiseSchedule, ScheduleConfig
from limner.process.guidance import rescale
from limner.process.predictions import PREDICTIONS, min_snr
from limner.process.solvers import SOLVERS, Solver, build, start_at
from limner.process.spacings import IN_TIME, AnyTimes, InnerTimes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of numpy, at diffusers
WITHIN = 1e-5
SHAPE = (1, 4, 8, 8)
SD = {
    "num_train_timesteps": 1000, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
    "steps_offset": 1,
}  # fmt: skip
SCHEDULE = NoiseSchedule(ScheduleConfig())
KEPT = {"set_alpha_to_one": False, "clip_sample": False}
WARPED = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas"}


@pytest.fixture(scope="module")
def diffusers() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("scipy")
        pytest.importorskip("torchsde")
        return pytest.importorskip("diffusers")


def toy(x: Tensor, t: float) -> Tensor:
    """Nothing that was trained: a smooth function that mixes channels and depends on the time."""
    angle = 2.0 * math.pi * t / 1000.0
    return torch.tanh(1.1 * x + 0.4 * x.roll(1, dims=1) - 0.5 * math.cos(3.0 * angle)) + 0.2 * math.sin(angle) * x


def noise(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


KNOWN, FIRST = noise(1) * 0.8 + 0.3, noise(2)


@dataclass
class Peer:
    """A scheduler of diffusers, on the way that ours goes."""

    scheduler: Any
    more: dict[str, Any] = field(default_factory=dict)  # for `step`

    def way(self, start: int) -> list[Any]:
        order = self.scheduler.order
        if hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(start * order)
        return list(self.scheduler.timesteps[start * order :])

    def step(self, call: int, output: Tensor, t: Any, x: Tensor) -> Tensor:
        return self.scheduler.step(output, t, x, **self.more).prev_sample


class Strided(Peer):
    """DDIM and PNDM step from t to t - T // steps, wherever the next of their times is: the spacing is made theirs.

    PNDM's list of times has its second twice; a way that starts later must have its own second twice.
    """

    def way(self, start: int) -> list[Any]:
        times = list(dict.fromkeys(self.scheduler.timesteps.tolist()))[start:]
        ends = [*times[1:], -1 - times[-1]]
        self.gaps = [now - then for now, then in zip(times, ends, strict=True)]
        if type(self.scheduler).__name__ == "PNDMScheduler" and len(times) > 1:
            times.insert(1, times[1])
            self.gaps.insert(1, self.gaps[0])
        return times

    def step(self, call: int, output: Tensor, t: Any, x: Tensor) -> Tensor:
        steps = self.scheduler.num_inference_steps
        self.scheduler.register_to_config(num_train_timesteps=self.gaps[call] * steps)
        return super().step(call, output, t, x)


class Warming(Peer):
    """LMS takes its order from the place on the grid, also where it has not yet seen as many slopes."""

    def step(self, call: int, output: Tensor, t: Any, x: Tensor) -> Tensor:
        return self.scheduler.step(output, t, x, order=min(call + 1, 4)).prev_sample


@dataclass
class Case:
    scheduler: str
    peer: type[Peer] = Peer
    settings: dict[str, Any] = field(default_factory=dict)
    stochastic: bool = False


CASES = {
    "ddim": Case("DDIMScheduler", Strided, KEPT),
    "ddpm": Case("DDPMScheduler", Peer, {"clip_sample": False}, stochastic=True),
    "dpmpp_2m": Case("DPMSolverMultistepScheduler"),
    "dpmpp_2m_sde": Case("DPMSolverMultistepScheduler", Peer, {"algorithm_type": "sde-dpmsolver++"}, stochastic=True),
    "dpmpp_sde": Case("DPMSolverSDEScheduler"),
    "euler": Case("EulerDiscreteScheduler"),
    "euler_ancestral": Case("EulerAncestralDiscreteScheduler", stochastic=True),
    "heun": Case("HeunDiscreteScheduler"),
    "lcm": Case("LCMScheduler", Peer, KEPT, stochastic=True),
    "lms": Case("LMSDiscreteScheduler", Warming),
    "pndm": Case("PNDMScheduler", Strided, {"set_alpha_to_one": False, "skip_prk_steps": True}),
    "unipc": Case("UniPCMultistepScheduler"),
}


def peer(diffusers: Any, name: str, spacing: str, steps: int, prediction: str, **settings: Any) -> Peer:
    case = CASES[name]
    config = {**SD, "prediction_type": prediction, **case.settings, **settings}
    if spacing in IN_TIME and name != "lcm":
        config["timestep_spacing"] = spacing
    elif spacing in WARPED and name != "euler_ancestral":
        config[WARPED[spacing]] = True
    scheduler = getattr(diffusers, case.scheduler)(**config)
    scheduler.set_timesteps(steps)
    if spacing in WARPED and name == "euler_ancestral":
        other = diffusers.EulerDiscreteScheduler(**SD, **{WARPED[spacing]: True})
        other.set_timesteps(steps)
        scheduler.sigmas, scheduler.timesteps = other.sigmas, other.timesteps
    more = {"generator": torch.Generator().manual_seed(3)} if case.stochastic else {}
    if name == "dpmpp_sde":
        scheduler.noise_sampler = brownian(torch.Generator().manual_seed(3))
    return case.peer(scheduler, more)


def brownian(generator: torch.Generator) -> Callable[[Tensor, Tensor], Tensor]:
    """Increments of one path over falling sigmas, of variance 1, as those of the tree that the scheduler would make."""
    path: dict[float, Tensor] = {}

    def at(sigma: Tensor) -> Tensor:
        place, last = float(sigma), min(path, default=math.inf)
        if not path:
            path[place] = torch.zeros(SHAPE)
        elif place < last * (1 - 1e-4):
            path[place] = path[last] + math.sqrt(last - place) * torch.randn(SHAPE, generator=generator)
        return path[min(path, key=lambda one: abs(one - place))]  # a sigma comes again as exp(log(sigma))

    def sample(sigma: Tensor, sigma_next: Tensor) -> Tensor:
        before, after = at(sigma), at(sigma_next)
        return (after - before) / (sigma - sigma_next).sqrt()

    return sample


def theirs(one: Peer, start: int | None, times: list[float] | None = None) -> Iterator[tuple[float, Tensor]]:
    """What the network is told and sees at each call, and in the end the picture. From noise where `start` is None."""
    scheduler, way = one.scheduler, one.way(start or 0)
    x = FIRST * scheduler.init_noise_sigma
    if start is not None:
        x = scheduler.add_noise(KNOWN, FIRST, torch.tensor([way[0]]))
    for call, t in enumerate(way):
        seen = scheduler.scale_model_input(x, t)
        yield float(t), seen
        x = one.step(call, toy(seen, times[call] if times else float(t)), t, x)
    yield 0.0, x


def ours(solver: Solver, start: int | None) -> Iterator[tuple[float, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    if start is None:
        solver.begin(FIRST)
    else:
        solver.x = solver.noised(KNOWN, FIRST)
    while not solver.done:
        yield solver.t, solver.x
        solver.take(toy(solver.x, solver.t), generator)
    yield 0.0, solver.x


def error(found: Tensor, wanted: Tensor) -> float:
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


def check_times(found: Sequence[float], wanted: Sequence[float], name: str, spacing: str) -> None:
    """Ours, in float64, are nearer; whole ones are equal, but that theirs are cut, not rounded, where the levels are
    exponential: the first is 998."""
    less = np.subtract(found, wanted)
    if isinstance(SOLVERS[name].grid, InnerTimes) and spacing == "exponential":
        assert ((less == 0) | (less == 1)).all()
        assert less.any() or len(found) < 5
    else:
        assert np.abs(less).max() <= (0.01 if isinstance(SOLVERS[name].grid, AnyTimes) else 0.0)


WAYS = [(name, spacing) for name, kind in SOLVERS.items() for spacing in kind.grid.spacings]
STEPS = [(20, None), (20, 1.0), (20, 0.6), (33, None), (7, 0.9), (7, 0.2)]  # and the strength


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("name", "spacing"), WAYS)
def test_every_call_sees_what_diffusers_sees(diffusers: Any, name: str, spacing: str, prediction: str) -> None:
    for steps, strength in STEPS:
        start = None if strength is None else start_at(steps, strength=strength)
        solver = build(name, SCHEDULE, steps=steps, spacing=spacing, prediction=prediction, start=start or 0)
        found = list(ours(solver, start))
        times = [t for t, _ in found]
        wanted = list(theirs(peer(diffusers, name, spacing, steps, prediction), start, times))
        assert len(found) == len(wanted) == solver.calls + 1
        check_times(times, [t for t, _ in wanted], name, spacing)
        for (_, mine), (_, yours) in zip(found, wanted, strict=True):
            assert error(mine, yours) < WITHIN, (steps, strength)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("name", "start"), [("pndm", None), ("lms", None), ("ddim", None), ("ddim", 9)])
def test_where_those_three_do_not_go_astray_they_need_not_be_told(
    diffusers: Any, name: str, start: int | None, prediction: str
) -> None:
    spacing = SOLVERS[name].grid.usual
    for steps in (20, 33):
        solver = build(name, SCHEDULE, steps=steps, prediction=prediction, start=start or 0)
        untold = Peer(peer(diffusers, name, spacing, steps, prediction).scheduler)
        found, wanted = list(ours(solver, start)), list(theirs(untold, start))
        for (_, mine), (_, yours) in zip(found, wanted, strict=True):
            assert error(mine, yours) < WITHIN


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_ddim_s_eta_is_diffusers(diffusers: Any, eta: float, prediction: str) -> None:
    solver = build("ddim", SCHEDULE, steps=20, prediction=prediction, eta=eta)
    one = peer(diffusers, "ddim", "leading", 20, prediction)
    one.more = {"eta": eta, "generator": torch.Generator().manual_seed(3)}
    for (_, mine), (_, yours) in zip(ours(solver, None), theirs(one, None), strict=True):
        assert error(mine, yours) < WITHIN


@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpmpp_2m", "euler", "euler_ancestral", "lcm", "unipc"])
def test_zero_terminal_snr_is_diffusers(diffusers: Any, name: str) -> None:
    """All the way from pure noise."""
    schedule = NoiseSchedule(ScheduleConfig(zero_terminal_snr=True))
    solver = build(name, schedule, steps=20, spacing="trailing", prediction="v_prediction")
    assert solver.level.alpha <= 2.0**-12
    one = peer(diffusers, name, "trailing", 20, "v_prediction", rescale_betas_zero_snr=True)
    for (_, mine), (_, yours) in zip(ours(solver, None), theirs(one, None), strict=True):
        assert error(mine, yours) < 3 * WITHIN  # theirs has betas, rounded, in between


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "euler", "heun", "lms", "unipc"])
def test_networks_that_predict_the_picture(diffusers: Any, name: str) -> None:
    spacing = SOLVERS[name].grid.usual
    found = list(ours(build(name, SCHEDULE, steps=20, prediction="sample"), None))
    wanted = theirs(peer(diffusers, name, spacing, 20, "sample"), None, [t for t, _ in found])
    for (_, mine), (_, yours) in zip(found, wanted, strict=True):
        assert error(mine, yours) < 3 * WITHIN  # float32: eps is a small difference over a small sigma


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m", "euler", "heun", "unipc"])
def test_repainting_goes_on_from_the_same_known_latents(diffusers: Any, name: str) -> None:
    """After each call what is known comes back, with the noise of the next level."""
    steps, mask = 10, torch.rand(SHAPE, generator=torch.Generator().manual_seed(4)).round()
    solver = build(name, SCHEDULE, steps=steps)
    one = peer(diffusers, name, solver.spacing, steps, "epsilon")
    way = one.way(0)
    solver.begin(FIRST)
    x = FIRST * one.scheduler.init_noise_sigma
    for call, t in enumerate(way):
        output = toy(solver.x, solver.t)
        solver.take(output, torch.Generator())
        solver.x = mask * solver.x + (1 - mask) * solver.noised(KNOWN, FIRST)
        x = one.step(call, toy(one.scheduler.scale_model_input(x, t), float(t)), t, x)
        last = call == len(way) - 1
        known = KNOWN if last else one.scheduler.add_noise(KNOWN, FIRST, torch.tensor([way[call + 1]]))
        x = mask * x + (1 - mask) * known
        seen = x if last else one.scheduler.scale_model_input(x, way[call + 1])
        assert error(solver.x, seen) < WITHIN, call


# ---------------------------------------------------------------------------------------------------
# What they are made of.


@pytest.mark.parametrize("kind", ["scaled_linear", "linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("zero", [False, True])
def test_schedules_are_diffusers(diffusers: Any, kind: Any, zero: bool) -> None:
    config = {**SD, "beta_schedule": kind, "beta_end": 0.02, "rescale_betas_zero_snr": zero}
    theirs = diffusers.DDIMScheduler(**config).alphas_cumprod.double()
    found = NoiseSchedule(ScheduleConfig(kind=kind, last=0.02, zero_terminal_snr=zero)).alphas_cumprod
    torch.testing.assert_close(found, theirs, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("spacing", IN_TIME)
@pytest.mark.parametrize("name", ["ddim", "euler", "unipc"])
def test_times_are_diffusers_for_every_number_of_steps(diffusers: Any, name: str, spacing: str) -> None:
    """From 2 on: theirs of one step may be time 0, ours is the noisiest. Some of theirs have one more, at -1."""
    scheduler = peer(diffusers, name, spacing, 2, "epsilon").scheduler
    for steps in range(2, 201):
        scheduler.set_timesteps(steps)
        found = [level.t for level in SOLVERS[name].grid.levels(SCHEDULE, spacing, steps)]
        np.testing.assert_allclose(found, scheduler.timesteps[:steps], atol=1e-3 if name == "euler" else 0.0)


def test_training_is_diffusers(diffusers: Any) -> None:
    """Noised pictures, the velocity, min-SNR weights."""
    scheduler = diffusers.DDPMScheduler(**SD)
    x0, eps = noise(5).repeat(6, 1, 1, 1), noise(6).repeat(6, 1, 1, 1)
    t = torch.tensor([0, 1, 250, 500, 751, 999])
    alpha, sigma = SCHEDULE.factors(t, like=x0)
    assert error(alpha * x0 + sigma * eps, scheduler.add_noise(x0, eps, t)) < WITHIN
    velocity = PREDICTIONS["v_prediction"].target(x0, eps, alpha, sigma)
    assert error(velocity, scheduler.get_velocity(x0, eps, t)) < WITHIN
    snr = importlib.import_module("diffusers.training_utils").compute_snr(scheduler, t)
    for name, divisor in (("epsilon", snr), ("v_prediction", snr + 1), ("sample", torch.ones_like(snr))):
        found = min_snr(PREDICTIONS[name], alpha, sigma, gamma=5.0).flatten()
        torch.testing.assert_close(found, snr.clamp(max=5.0) / divisor, rtol=1e-4, atol=0.0)


def test_rescaled_guidance_is_diffusers(diffusers: Any) -> None:
    guided, cond = 3.0 * torch.cat([noise(7), noise(8)]), torch.cat([noise(9), noise(10)])
    module = "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion"
    wanted = importlib.import_module(module).rescale_noise_cfg(guided, cond, guidance_rescale=0.7)
    assert error(rescale(guided, cond, torch.tensor([0.7, 0.7])), wanted) < WITHIN
