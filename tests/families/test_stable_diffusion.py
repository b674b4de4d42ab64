"""Stable Diffusion where the contract does not ask: its knobs, sizes, repainting, and what its training says."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.core import Batch, InputError, Request
from limner.drawing import draw
from limner.families.stable_diffusion import Config, Knobs, StableDiffusion
from limner.process.solvers import SOLVERS
from tests.toys.stable_diffusion import TINY, toy

SIDE = TINY.image_size


@pytest.fixture(scope="module")
def model() -> StableDiffusion:
    """With a denoiser that answers: a fresh one begins at zero."""
    found = toy(TINY)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in found.unet.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return found


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand((3, SIDE, SIDE), generator=torch.Generator().manual_seed(1)) * 2 - 1


def ask(prompt: str = "red blue", *, seed: int = 0, **given: Any) -> Request:
    knobs = given.pop("knobs", Knobs(steps=4))
    return Request(prompt=prompt, seed=seed, knobs=knobs, **given)


def one(model: StableDiffusion, request: Request) -> Tensor:
    return draw(model, [request])[0]


@pytest.mark.parametrize("name", [*SOLVERS, "Euler a", "dpm++ 2m karras", "UniPCMultistepScheduler"])
def test_every_solver_draws_by_every_name(model: StableDiffusion, name: str) -> None:
    picture = one(model, ask(knobs=Knobs(steps=4, solver=name)))
    assert picture.isfinite().all()
    assert picture.std() > 0.01


def test_solvers_at_different_steps_go_through_one_call(model: StableDiffusion) -> None:
    requests = [ask(seed=seed, knobs=Knobs(steps=3 + seed % 3, solver=name)) for seed, name in enumerate(SOLVERS)]
    requests += [ask("red " * 40, seed=99), ask(seed=98, size=(SIDE, 2 * SIDE)), ask(seed=97, negative_prompt="blue")]
    for together, request in zip(draw(model, requests, batch=99), requests, strict=True):
        torch.testing.assert_close(together, one(model, request), atol=2e-3, rtol=0.0)


@pytest.mark.parametrize("guidances", [(3.0, 5.0), (3.0, 1.0), (1.0, 1.0)], ids=str)
def test_latents_that_are_read_with_two_texts_are_given_once(
    model: StableDiffusion, guidances: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, forward = [], model.unet.forward

    def watched(x: Tensor, t: Tensor, context: Tensor, added: Tensor | None = None) -> Tensor:
        seen.append((len(x), len(context)))
        return forward(x, t, context, added)

    monkeypatch.setattr(model.unet, "forward", watched)
    model.advance(model.begin([ask(seed=seed, knobs=Knobs(guidance=one)) for seed, one in enumerate(guidances)]))
    texts = 2 + sum(one != 1.0 for one in guidances)
    assert seen == [(2 if texts != 3 else 3, texts)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"solver": "eulr"}, 'did you mean "euler"'),
        ({"solver": "ddim", "spacing": "karras"}, "does not apply"),
        ({"steps": 0}, "steps = 0"),
        ({"guidance": 31.0}, "guidance = 31"),
        ({"guidance_from": 0.8, "guidance_until": 0.2}, "in this order"),
        ({"rescale": 2.0}, "rescale = 2"),
        ({"clip_skip": 0}, "clip_skip = 0"),
        ({"strength": 0.0}, "strength = 0"),
    ],
)
def test_wrong_knobs_are_said_in_one_line(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        Knobs(**values)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_eta_for_a_solver_without_noise_is_refused(model: StableDiffusion) -> None:
    with pytest.raises(InputError, match="draws no noise"):
        one(model, ask(knobs=Knobs(steps=2, solver="euler", eta=0.5)))


@pytest.mark.parametrize("size", [(SIDE + 1, SIDE), (SIDE, SIDE // 2 + 1)])
def test_sides_divide(model: StableDiffusion, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"must divide by {model.multiple}"):
        model.begin([ask(size=size)])


def test_guidance_acts_within_its_times_alone(model: StableDiffusion) -> None:
    (sketch,) = model.begin([ask(knobs=Knobs(steps=4, guidance_from=0.3, guidance_until=0.7))])
    acted = []
    while not sketch.done:
        acted.append((0.3 <= sketch.solver.t / 1000 <= 0.7, sketch.guidance))
        model.advance([sketch])
    assert {inside for inside, _ in acted} == {False, True}
    assert all(scale == (7.5 if inside else 1.0) for inside, scale in acted)


def test_a_strength_skips_the_first_steps(model: StableDiffusion, image: Tensor) -> None:
    (sketch,) = model.begin([ask(image=image, knobs=Knobs(steps=10, strength=0.3))])
    assert sketch.steps == 3
    little, much = (one(model, ask(image=image, knobs=Knobs(steps=10, strength=share))) for share in (0.1, 1.0))
    kept = model.vae.decode(model.vae.encode(image[None]))[0].detach()
    assert (little - kept).abs().mean() < (much - kept).abs().mean()


@pytest.mark.parametrize("repaints", [False, True])
def test_what_is_not_painted_stays_but_for_the_autoencoder(image: Tensor, repaints: bool) -> None:
    """Where the denoiser is shown the mask, nothing is put back, and it is trained to keep what it sees."""
    channels = 2 * TINY.vae.channels + 1 if repaints else TINY.vae.channels
    model = toy(replace(TINY, unet=replace(TINY.unet, channels_in=channels)))
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, :, SIDE // 2 :] = 1.0
    (sketch,) = model.begin([ask(image=image, mask=mask, knobs=Knobs(steps=4, strength=1.0))])
    assert (sketch.known is None) is repaints
    assert (sketch.shown is not None) is repaints
    while not sketch.done:
        model.advance([sketch])
    if not repaints:
        columns = sketch.solver.x.shape[-1] // 2
        off = (sketch.solver.x - model.vae.encode(image[None]).detach()).abs()
        assert off[..., :columns].max() < 1e-5
        assert off[..., columns:].max() > 1e-3


def test_a_mask_wants_its_image(model: StableDiffusion) -> None:
    with pytest.raises(InputError, match="give the image too"):
        model.begin([ask(mask=torch.ones(1, SIDE, SIDE))])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unet": replace(TINY.unet, context=7)}, "unet.context = 7"),
        ({"unet": replace(TINY.unet, channels_in=5)}, "channels_in = 5"),
        ({"unet": replace(TINY.unet, added=3)}, "unet.added = 3"),
        ({"image_size": SIDE + 1}, f"image_size = {SIDE + 1}"),
        ({"schedule": replace(TINY.schedule, zero_terminal_snr=True), "prediction": "epsilon"}, "pure noise"),
        ({"dropped": 1.0}, "dropped = 1"),
        ({"gamma": 0.0}, "gamma = 0"),
    ],
)
def test_a_config_that_does_not_fit_is_said_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        replace(TINY, **changes)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_perceptual_loss_training_says_so_once(tokenizer: Any, caplog: pytest.LogCaptureFixture) -> None:
    config: Config = StableDiffusion.presets["tiny"]
    family = StableDiffusion(config, tokenizer)
    batch = Batch(torch.zeros(2, 3, config.image_size, config.image_size), ["a", "b"])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            family.reconstruct(batch, torch.Generator())
    assert [record.message for record in caplog.records] == [
        "the autoencoder learns without a perceptual loss: model.config.learning.perceptual names no file"
    ]


def test_a_perceptual_loss_that_is_not_there_is_one_line(tokenizer: Any) -> None:
    config = StableDiffusion.presets["tiny"]
    config = replace(config, learning=replace(config.learning, perceptual="none.safetensors"))
    batch = Batch(torch.zeros(2, 3, config.image_size, config.image_size), ["a", "b"])
    with pytest.raises(InputError, match=r"none\.safetensors"):
        StableDiffusion(config, tokenizer).reconstruct(batch, torch.Generator())
