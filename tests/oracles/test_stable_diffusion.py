"""Whole pictures against diffusers' pipelines, with the same weights, texts and first noise: 20 steps of every solver.

Its image-to-image starts PNDM and LMS as though they had memories that they have not; `doubled` and `warming` start
them right (tests/oracles/test_diffusion_solvers.py). DPM++ SDE draws from a Brownian path of its own: see there.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.codecs.vae import VAEConfig
from limner.core import Request
from limner.drawing import draw
from limner.families.stable_diffusion import Config, Knobs, StableDiffusion
from limner.nn.unet import UNetConfig
from limner.text.bpe import BPE
from limner.text.clip import ClipTextConfig
from limner.text.conditioning import ConditionerConfig, TowerConfig

pytestmark = pytest.mark.filterwarnings("ignore")
WITHIN = 2.0  # of 255 steps between black and white
SIDE, STEPS, SEED = 64, 20, 5
TEXT = ConditionerConfig((TowerConfig(ClipTextConfig(width=32, depth=2, heads=2, hidden=64, length=16)),))
CONFIG = Config(
    image_size=SIDE, text=TEXT,
    unet=UNetConfig(widths=(32, 64), depths=(1, 1), heads=(2, 2), context=32, groups=8),
    vae=VAEConfig(widths=(16, 32, 32, 32), blocks=1, groups=8),
)  # fmt: skip
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
KEPT = {"set_alpha_to_one": False, "clip_sample": False}
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", KEPT),
    "ddpm": ("DDPMScheduler", {"clip_sample": False, "timestep_spacing": "leading"}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", KEPT),
    "lms": ("LMSDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {"set_alpha_to_one": False, "skip_prk_steps": True}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
TASKS = {"txt2img": 1.0, "img2img": 0.6, "inpainting": 0.8}  # how much is drawn anew


@pytest.fixture(scope="module")
def diffusers() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("diffusers")


class Peer:
    """The same weights in diffusers' classes."""

    def __init__(self, diffusers: Any, ours: StableDiffusion) -> None:
        self.diffusers, config = diffusers, ours.config
        levels = len(config.unet.widths)
        self.unet = diffusers.UNet2DConditionModel(
            in_channels=config.unet.channels_in, block_out_channels=config.unet.widths, attention_head_dim=2,
            cross_attention_dim=32, norm_num_groups=8, sample_size=SIDE // 8,
            down_block_types=("CrossAttnDownBlock2D",) * levels, up_block_types=("CrossAttnUpBlock2D",) * levels,
        ).eval()  # fmt: skip
        self.unet.load_state_dict(ours.unet.state_dict())
        self.vae = diffusers.AutoencoderKL(
            block_out_channels=config.vae.widths, layers_per_block=1, norm_num_groups=8, latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        ).eval()  # fmt: skip
        self.vae.load_state_dict(ours.vae.state_dict())

    def draw(
        self, task: str, scheduler: Any, embeds: Tensor, *, guidance: float, rescale: float = 0.0, **given: Any
    ) -> Tensor:
        kinds = {"txt2img": "", "img2img": "Img2Img", "inpainting": "Inpaint"}
        pipe = getattr(self.diffusers, f"StableDiffusion{kinds[task]}Pipeline")(
            vae=self.vae, unet=self.unet, text_encoder=None, tokenizer=None, scheduler=scheduler, safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
        pipe.set_progress_bar_config(disable=True)
        if task == "txt2img":
            given["guidance_rescale"] = rescale
        else:
            given["strength"] = TASKS[task]
        out: Tensor = pipe(
            prompt_embeds=embeds[:1], negative_prompt_embeds=embeds[1:], num_inference_steps=STEPS, output_type="pt",
            guidance_scale=guidance, generator=torch.Generator().manual_seed(SEED), **given,
        ).images[0]  # fmt: skip
        return 2.0 * out - 1.0


@pytest.fixture(scope="module")
def ours(diffusers: Any) -> StableDiffusion:
    """With the U-Net as diffusers begins it, which answers, where ours begins at zero."""
    return built(diffusers, CONFIG)


def built(diffusers: Any, config: Config) -> StableDiffusion:
    torch.manual_seed(0)
    words = ["a red square on a white ground", "a blue circle", "two stars above the moon"]
    family = StableDiffusion(config, BPE.train(words * 20, 300)).eval()
    with torch.no_grad():
        for one in family.unet.parameters():
            one.add_(0.05 * torch.randn_like(one))
    return family


@pytest.fixture(scope="module")
def peer(diffusers: Any, ours: StableDiffusion) -> Peer:
    return Peer(diffusers, ours)


@pytest.fixture(autouse=True)
def likeliest(diffusers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours takes the likeliest latents of a picture; theirs would draw from around them."""
    kind = diffusers.models.autoencoders.vae.DiagonalGaussianDistribution
    monkeypatch.setattr(kind, "sample", lambda self, generator=None: self.mean)


def schedule(diffusers: Any, name: str, task: str, **more: Any) -> Any:
    kind, settings = SCHEDULERS[name]
    cls = getattr(diffusers, kind)
    start = STEPS - int(STEPS * TASKS[task])
    if name == "lms":
        cls = warming(cls)
    if name == "pndm" and start:
        cls = doubled(cls, start)
    return cls(**SD, **settings, **more)


def warming(kind: type) -> type:
    """An order no higher than the slopes that were seen."""

    class Warming(kind):  # type: ignore[misc]
        def step(self, output: Any, t: Any, x: Any, **_: Any) -> Any:
            return super().step(output, t, x, order=min(len(self.derivatives) + 1, 4))

    return Warming


def doubled(kind: type, start: int) -> type:
    """The second time twice, which is how PNDM begins, also where it begins later."""

    class Doubled(kind):  # type: ignore[misc]
        def set_timesteps(self, *given: Any, **more: Any) -> None:
            super().set_timesteps(*given, **more)
            times = torch.tensor(list(dict.fromkeys(self.timesteps.tolist())))
            self.timesteps = torch.cat([times[: start + 2], times[start + 1 :]])

    return Doubled


def given(task: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """For ours, and for theirs."""
    if task == "txt2img":
        return {}, {}
    image = torch.rand((3, SIDE, SIDE), generator=torch.Generator().manual_seed(1)) * 2 - 1
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, 16:48, 16:] = 1.0
    if task == "img2img":
        return {"image": image}, {"image": image[None]}
    return {"image": image, "mask": mask}, {"image": image[None], "mask_image": mask[None]}


def difference(one: Tensor, two: Tensor) -> float:
    assert one.std() > 0.2  # a grey picture would agree with another
    return (one - two).abs().max().item() * 127.5


def compared(ours: StableDiffusion, peer: Peer, task: str, scheduler: Any, **knobs: Any) -> float:
    mine, theirs = given(task)
    settings = Knobs(steps=STEPS, strength=TASKS[task], **knobs)
    request = Request(prompt="a red square", negative_prompt="blue", seed=SEED, knobs=settings, **mine)
    embeds = ours.conditioner.guided("a red square", "blue").tokens.detach()
    drawn = peer.draw(task, scheduler, embeds, guidance=settings.guidance, rescale=settings.rescale, **theirs)
    return difference(draw(ours, [request])[0], drawn)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", SCHEDULERS)
def test_pictures_agree(ours: StableDiffusion, peer: Peer, diffusers: Any, name: str, task: str) -> None:
    assert compared(ours, peer, task, schedule(diffusers, name, task), solver=name) <= WITHIN


@pytest.mark.parametrize("name", ["dpmpp_2m", "euler", "unipc"])
def test_karras_spacing_and_rescaled_guidance_agree(
    ours: StableDiffusion, peer: Peer, diffusers: Any, name: str
) -> None:
    scheduler = schedule(diffusers, name, "txt2img", use_karras_sigmas=True)
    assert compared(ours, peer, "txt2img", scheduler, solver=name, spacing="karras", rescale=0.7) <= WITHIN


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
def test_predictions_and_a_denoiser_that_repaints_agree(diffusers: Any, prediction: str) -> None:
    config = replace(CONFIG, prediction=prediction, unet=replace(CONFIG.unet, channels_in=9))
    ours = built(diffusers, config)
    scheduler = schedule(diffusers, "ddim", "inpainting", prediction_type=prediction)
    assert compared(ours, Peer(diffusers, ours), "inpainting", scheduler, solver="ddim") <= WITHIN
