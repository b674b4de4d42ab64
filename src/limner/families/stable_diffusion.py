"""Latent diffusion with a text encoder learnt by contrast (Rombach et al. 2022): Stable Diffusion 1.x, 2.x and XL.

A picture is a small grid of latents, to which an autoencoder goes and from which it returns (codecs/vae.py). A U-Net
(nn/unet.py) takes noise out of the grid step by step, reading what a text encoder says (text/conditioning.py). Trained
from nothing, the autoencoder and the text encoder come first: the denoiser learns from both.

B batch, C latent channels, h and w the latents' grid, L text tokens, D their width, P width of SDXL's vector.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from limner.codecs.patch_critic import CriticConfig, PatchCritic
from limner.codecs.perceptual import Perceptual
from limner.codecs.vae import VAE, VAEConfig
from limner.core import Batch, Family, Request, Sketch, Step, Tokenizer, check, seeded
from limner.nn.prenorm import PreNormConfig
from limner.nn.unet import UNet, UNetConfig
from limner.nn.vit import VisionTransformer
from limner.process import predictions
from limner.process.contrast import contrast
from limner.process.diffusion import NoiseSchedule, ScheduleConfig
from limner.process.gaussians import Gaussian, divergence
from limner.process.guidance import drop, guide, rescale
from limner.process.solvers import build, find, start_at
from limner.process.solvers.solver import Solver
from limner.store.features import Answers, Features, Inputs
from limner.store.pages import forget
from limner.text.clip import ClipTextConfig
from limner.text.conditioning import (
    SD1,
    SD2,
    SDXL,
    Conditioner,
    ConditionerConfig,
    Conditioning,
    TowerConfig,
    embed_sizes,
)

log = logging.getLogger(__name__)

FIRST_SCALE, MOST_SCALE = 1 / 0.07, 100.0  # of the contrast's inverse temperature
CALIBRATION = 64  # images
SIX = 6 * 256  # numbers that SDXL's vector has beside the text's


@dataclass(frozen=True, slots=True)
class LearningConfig:
    """What is of use in training from nothing alone."""

    perceptual: str = ""  # a file of VGG16 and LPIPS' heads (codecs/perceptual.py); without one it is learnt without
    divergence: float = 1e-6  # weight of how much the latents tell, in nats for a number of the picture
    critic: CriticConfig = field(default_factory=CriticConfig)
    vision: PreNormConfig = field(default_factory=lambda: PreNormConfig(width=128, depth=4, heads=4, hidden=512))
    patch: int = 16  # pixels a side, of the pictures' tower in the contrast
    embedding: int = 128  # dimensions of the space in which texts are told from each other by their pictures


@dataclass(frozen=True, slots=True)
class Config:
    image_size: int = 512
    unet: UNetConfig = field(default_factory=UNetConfig)
    vae: VAEConfig = field(default_factory=VAEConfig)
    text: ConditionerConfig = SD1
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    prediction: Literal["epsilon", "v_prediction", "sample", "flow"] = "epsilon"
    dropped: float = 0.1  # share of captions replaced by the empty one in training, for guidance
    gamma: float | None = None  # of min-SNR's weights (Hang et al. 2023); without it all times weigh alike
    learning: LearningConfig | None = None  # None for a model that came trained: its denoiser alone is trained on

    def __post_init__(self) -> None:
        unet, channels = self.unet, self.vae.channels
        check(
            unet.context == self.text.width,
            f"unet.context = {unet.context}, but the widths of text.towers sum to {self.text.width}; set it to that",
        )
        check(
            unet.channels_in in (channels, 2 * channels + 1) and unet.channels_out == channels,
            f"unet.channels_in = {unet.channels_in} and channels_out = {unet.channels_out} do not fit vae.channels = "
            f"{channels}: out go as many, in go as many or, to repaint, {2 * channels + 1}",
        )
        check(
            unet.added in (0, self.text.pooled + SIX),
            f"unet.added = {unet.added} is neither 0 nor the text's vector and six sizes, {self.text.pooled + SIX}",
        )
        check(
            self.image_size > 0 and self.image_size % self.multiple == 0,
            f"image_size = {self.image_size} does not divide by {self.multiple}",
        )
        check(
            self.prediction != "epsilon" or not self.schedule.zero_terminal_snr,
            'prediction = "epsilon" says nothing of pure noise, with which schedule.zero_terminal_snr begins; set '
            'prediction = "v_prediction"',
        )
        check(0.0 <= self.dropped < 1.0, f"dropped = {self.dropped} is not a share from 0 up to 1")
        check(
            self.learning is None or self.vae.scale == "measured",
            f'vae.scale = {self.vae.scale} is known before the autoencoder has learnt anything; set it to "measured"',
        )
        check(self.gamma is None or self.gamma > 0.0, f"gamma = {self.gamma} must be above 0; 5 is usual")

    @property
    def multiple(self) -> int:
        """What the sides of a picture divide by."""
        return self.vae.factor * self.unet.multiple

    @property
    def repaints(self) -> bool:
        """Whether the denoiser itself is shown what is known of a picture, and where."""
        return self.unet.channels_in > self.vae.channels


@dataclass(frozen=True, slots=True)
class Knobs:
    steps: int = 20
    guidance: float = 7.5  # 1 is none
    solver: str = "dpmpp_2m"  # or another name of process/solvers, "Euler a" say
    spacing: str = ""  # of the steps: leading, linspace, trailing, karras, exponential; empty is the solver's usual one
    eta: float | None = None  # share of fresh noise in a step, for solvers that draw any
    guidance_from: float = 0.0  # guidance acts at times t within [from, until] (Kynkaanniemi et al. 2024)
    guidance_until: float = 1.0
    rescale: float = 0.0  # how far a guided answer goes back to the spread of an unguided one (Lin et al. 2023)
    clip_skip: int = 1  # which layer of the text encoder is read, counted from its end; 1 skips none
    strength: float = 0.6  # with an image: how much of it is drawn anew

    def __post_init__(self) -> None:
        find(self.solver, self.spacing or None)
        check(1 <= self.steps <= 1000, f"steps = {self.steps} is not from 1 to 1000")
        check(0.0 <= self.guidance <= 30.0, f"guidance = {self.guidance} is not from 0 to 30; 1 is none, 7.5 is usual")
        check(0.0 <= self.rescale <= 1.0, f"rescale = {self.rescale} is not a share from 0 to 1; 0.7 is usual")
        check(self.clip_skip >= 1, f"clip_skip = {self.clip_skip} is below 1, which skips none")
        check(0.0 < self.strength <= 1.0, f"strength = {self.strength} is not above 0 and up to 1")
        check(
            0.0 <= self.guidance_from <= self.guidance_until <= 1.0,
            f"guidance acts from {self.guidance_from} until {self.guidance_until}: both lie in 0 to 1, in this order",
        )


@dataclass(frozen=True, slots=True)
class Known:
    """What is given of a picture: its latents and noise (1, C, h, w), and `mask` (1, 1, h, w), 1 where to paint."""

    latents: Tensor
    noise: Tensor
    mask: Tensor


@dataclass(slots=True, kw_only=True)
class DiffusionSketch(Sketch):
    vae: VAE
    solver: Solver
    texts: Conditioning  # two rows: of the prompt, and of what to keep away from
    added: Tensor | None  # (2, P), where the denoiser reads it
    known: Known | None = None  # what is put back behind each step
    shown: Tensor | None = None  # (1, 1 + C, h, w): the mask and what is known, where the denoiser is shown them

    @property
    def guidance(self) -> float:
        knobs = self.request.knobs
        t = self.solver.t / len(self.solver.schedule)
        return float(knobs.guidance) if knobs.guidance_from <= t <= knobs.guidance_until else 1.0

    def preview(self) -> Tensor | None:
        """The running estimate, decoded when it is asked for: that takes as long as a step or two."""
        if self.done:
            return self.image
        return None if self.solver.x0 is None else decoded(self.vae, self.solver.x0)

    @property
    def image(self) -> Tensor:
        """Decoded when it is first asked for: the denoiser's memory may have been given back by then."""
        assert self.done, f"at step {self.step} of {self.steps} there is no picture yet"
        if self.estimate is None:
            self.estimate = decoded(self.vae, self.solver.x)
        return self.estimate


class Lessons(nn.Module):
    """Who teaches the autoencoder and the text encoder, and is not needed for drawing."""

    def __init__(self, config: Config, learning: LearningConfig) -> None:
        super().__init__()
        self.critic = PatchCritic(learning.critic)
        self.vision = VisionTransformer(
            learning.vision, image_size=config.image_size, patch=learning.patch, out=learning.embedding
        )
        self.project = nn.Linear(config.text.width, learning.embedding, bias=False)
        self.scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))
        for edge in (self.vision.project, self.project):
            edge._limner_group = "adamw"  # type: ignore[assignment]  # Muon is for hidden matrices

    def contrastive(self) -> list[nn.Parameter]:
        return [*self.vision.parameters(), *self.project.parameters(), self.scale]

    def contrast(self, images: Tensor, texts: Tensor) -> dict[str, Tensor]:
        """Pictures (B, 3, H, W), and (B, D) of their texts."""
        with torch.no_grad():  # clamped in the graph the scale could not come down again
            self.scale.clamp_(0.0, math.log(MOST_SCALE))
        losses = contrast(self.vision(images), self.project(texts), self.scale.exp())
        return {**losses, "scale": self.scale.detach().exp()}


class StableDiffusion(Family):
    Config = Config
    Knobs = Knobs
    presets: ClassVar[dict[str, Config]] = {
        "base": Config(
            image_size=64,
            unet=UNetConfig(
                channels_in=16,
                channels_out=16,
                widths=(96, 160),
                blocks=1,
                depths=(1, 1),
                heads=(4, 4),
                context=128,
                linear=True,
                groups=8,
            ),
            vae=VAEConfig(channels=16, widths=(16, 32, 64, 64), blocks=1, groups=8, scale="measured"),
            text=ConditionerConfig((TowerConfig(ClipTextConfig(width=128, depth=3, heads=4, hidden=512, length=32)),)),
            schedule=ScheduleConfig(zero_terminal_snr=True),
            prediction="v_prediction",
            learning=LearningConfig(),
        ),
        "sd1": Config(),
        "sd2": Config(
            image_size=768,
            unet=replace(UNetConfig(), heads=(5, 10, 20, 20), context=1024, linear=True),
            text=SD2,
            prediction="v_prediction",
        ),
        "sdxl": Config(
            image_size=1024,
            unet=UNetConfig(
                widths=(320, 640, 1280),
                depths=(0, 2, 10),
                middle=10,
                heads=(5, 10, 20),
                context=2048,
                linear=True,
                added=2816,
            ),
            vae=VAEConfig(scale=0.13025),
            text=SDXL,
        ),
    }
    presets["tiny"] = replace(
        presets["base"], image_size=16,
        unet=UNetConfig(widths=(32, 32), blocks=1, depths=(0, 1), heads=(2, 2), context=32, linear=True, groups=8),
        vae=VAEConfig(widths=(16, 16), blocks=1, groups=8, scale="measured"),
        text=ConditionerConfig((TowerConfig(ClipTextConfig(width=32, depth=2, heads=2, hidden=64, length=32)),)),
        learning=LearningConfig(
            divergence=1e-2, critic=CriticConfig(width=8, halvings=2, start=0.0), patch=4, embedding=32,
            vision=PreNormConfig(width=32, depth=2, heads=2, hidden=64),
        ),
    )  # fmt: skip

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.vae = VAE(config.vae)
        self.conditioner = Conditioner(config.text, tokenizer)
        self.unet = UNet(config.unet)
        self.lessons = None if config.learning is None else Lessons(config, config.learning)
        self.schedule = NoiseSchedule(config.schedule)
        self.features: Features | None = None
        self.prediction = predictions.prediction_named(config.prediction)

    @property
    def multiple(self) -> int:
        multiple: int = self.config.multiple
        return multiple

    def networks(self) -> list[nn.Module]:
        return [self.unet, self.vae, self.conditioner]

    # -- training ----------------------------------------------------------------------------------

    def calibrate(self, batch: Batch) -> None:
        if self.lessons is not None:
            self.vae.calibrate(batch.images[:CALIBRATION])

    def steps(self) -> list[Step]:
        """The autoencoder and its critic, the text encoder by contrast, the denoiser, which takes both as they are."""
        denoiser = Step("denoiser", list(self.unet.parameters()), self.denoise)
        if self.lessons is None:
            return [denoiser]
        text = [*self.conditioner.parameters(), *self.lessons.contrastive()]
        return [
            Step("vae", list(self.vae.parameters()), self.reconstruct, anneal=self.lessons.critic.anneal),
            Step("critic", list(self.lessons.critic.parameters()), self.criticise),
            Step("text", text, self.match),
            denoiser,
        ]

    def reconstruct(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Pictures painted from samples of their latents: how far they are off, how much the latents tell, and, in
        training, what the critic wishes. `error` is the mean square."""
        assert self.lessons is not None
        images, critic = batch.images, self.lessons.critic
        seen = self.vae.moments(images)
        if self.training:
            self.vae.follow(seen.mean)
        painted = self.vae.paint(seen.at(torch.randn(seen.mean.shape, generator=generator).to(seen.mean)))
        absolute, error = (painted - images).abs().mean(), F.mse_loss(painted, images)
        off = absolute + (error if self._unlikeness is None else self._unlikeness(images, painted).mean())
        flat = Gaussian(seen.mean.flatten(1), seen.log_sigma.flatten(1))
        told = divergence(flat, Gaussian.standard(*flat.mean.shape, like=flat.mean)).mean() / images[0].numel()
        loss = off + self.config.learning.divergence * told
        if self.training and critic.heard:
            loss = loss + critic.wish(painted, off, self.vae.decoder.conv_out.weight)
        return {
            "loss": loss,
            "absolute": absolute.detach(),
            "error": error.detach(),
            "divergence": told.detach(),
        }

    @cached_property
    def _unlikeness(self) -> Perceptual | None:
        """How unlike two pictures look, by another network, whose weights are the user's and no part of the model."""
        if file := self.config.learning.perceptual:
            return Perceptual.load(Path(file))
        log.warning("the autoencoder learns without a perceptual loss: model.config.learning.perceptual names no file")
        return None

    def criticise(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """The critic tells pictures from those that went through the autoencoder."""
        assert self.lessons is not None
        with torch.no_grad():
            seen = self.vae.moments(batch.images)
            painted = self.vae.paint(seen.at(torch.randn(seen.mean.shape, generator=generator).to(seen.mean)))
        return {"loss": self.lessons.critic.loss(batch.images, painted)}

    def match(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """The mean state of a caption's tokens against its picture among the batch's. Nothing is drawn at random."""
        assert self.lessons is not None
        return self.lessons.contrast(batch.images, self.conditioner.captions(batch.captions).tokens.mean(dim=1))

    def denoise(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """The squared error of what is predicted, weighted by time."""
        x0 = self._latents(batch.images)
        texts = self._texts(drop(batch.captions, share=self.config.dropped, generator=generator))
        t = torch.randint(len(self.schedule), (len(batch),), generator=generator)
        eps = torch.randn(x0.shape, generator=generator).to(x0)
        alpha, sigma = self.schedule.factors(t, like=x0)
        output = self.unet(
            alpha * x0 + sigma * eps, t.to(x0.device), texts.tokens, self._added(texts, *batch.images.shape[-2:])
        )
        errors = (output.float() - self.prediction.target(x0, eps, alpha, sigma)).square()
        gamma = self.config.gamma
        weights = 1.0 if gamma is None else predictions.min_snr(self.prediction, alpha, sigma, gamma=gamma)
        return {"loss": (weights * errors).mean(), "error": errors.detach().mean()}

    # What the denoiser learns of, which stands still by then: it may be known already.

    def keep_features(self, features: Features | None) -> None:
        self.features = features

    def _latents(self, images: Tensor) -> Tensor:
        def encode(images: Tensor) -> Answers:
            return {"latents": self.vae.encode(images)}

        return self._answers("vae", self.vae, images, encode)["latents"]

    def _texts(self, captions: Sequence[str]) -> Conditioning:
        def read(captions: Sequence[str]) -> Answers:
            found = self.conditioner.captions(captions)
            return {"tokens": found.tokens} | ({} if found.pooled is None else {"pooled": found.pooled})

        found = self._answers("text", self.conditioner, captions, read)
        return Conditioning(found["tokens"], found.get("pooled"))

    @torch.no_grad()
    def _answers(self, name: str, part: nn.Module, inputs: Inputs, compute: Callable[[Inputs], Answers]) -> Answers:
        return compute(inputs) if self.features is None else self.features.of(name, part, inputs, compute)

    # -- drawing -----------------------------------------------------------------------------------

    def check(self, request: Request, *, redrawn: bool) -> None:
        self._size(request)
        self._solver(request.knobs, redrawn=redrawn)
        prompts = [request.prompt, request.negative_prompt]
        self.conditioner.check(prompts, clip_skip=request.knobs.clip_skip)

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        sketches: list[Sketch] = [self._begin(request) for request in requests]
        forget(*self.conditioner.parameters())  # what the texts say is known, and the denoiser wants the room
        return sketches

    def _begin(self, request: Request) -> DiffusionSketch:
        knobs, (height, width) = request.knobs, self._size(request)
        solver = self._solver(knobs, redrawn=request.image is not None)
        texts = self.conditioner.guided(request.prompt, request.negative_prompt, clip_skip=knobs.clip_skip)
        sketch = DiffusionSketch(
            request=request, generator=seeded(request.seed), steps=solver.calls, vae=self.vae, solver=solver,
            texts=texts, added=self._added(texts, height, width),
        )  # fmt: skip
        grid = (1, self.config.vae.channels, height // self.config.vae.factor, width // self.config.vae.factor)
        self._look(sketch, torch.randn(grid, generator=sketch.generator).to(self.device))
        return sketch

    def _solver(self, knobs: Knobs, *, redrawn: bool) -> Solver:
        return build(
            knobs.solver, self.schedule, steps=knobs.steps, spacing=knobs.spacing or None,
            prediction=self.config.prediction, eta=knobs.eta,
            start=start_at(knobs.steps, strength=knobs.strength) if redrawn else 0,
        )  # fmt: skip

    def _size(self, request: Request) -> tuple[int, int]:
        """Height and width: as asked for, or the given picture's, or the model's own."""
        given = None if request.image is None else (request.image.shape[-2], request.image.shape[-1])
        height, width = request.size or given or (self.config.image_size, self.config.image_size)
        multiple = self.config.multiple
        check(
            height % multiple == 0 and width % multiple == 0 and (given is None or given == (height, width)),
            f"a picture of {width} x {height} cannot be drawn: both sides must divide by {multiple}, and be those of "
            "the image where one is given",
        )
        return height, width

    def _look(self, sketch: DiffusionSketch, noise: Tensor) -> None:
        """The start: noise alone, or the given picture with as much of it as `strength` says."""
        request, solver = sketch.request, sketch.solver
        check(request.image is not None or request.mask is None, "a mask needs its image: give the image too")
        solver.begin(noise)
        if request.image is not None:
            latents = self._encoded(request.image)
            if request.mask is None or request.knobs.strength < 1.0:
                solver.x = solver.noised(latents, noise)
            if request.mask is not None and not self.config.repaints:
                sketch.known = Known(latents, noise, on_grid(request.mask, noise))
        if self.config.repaints:
            sketch.shown = self._shown(request.image, request.mask, noise)

    def _shown(self, image: Tensor | None, mask: Tensor | None, like: Tensor) -> Tensor:
        """The mask and the picture without what it covers, on the grid of `like`; without a mask all is to paint."""
        if image is None or mask is None:
            factor = self.config.vae.factor
            image = like.new_zeros((3, like.shape[-2] * factor, like.shape[-1] * factor))
            mask = torch.ones_like(image[:1])
        kept = self._encoded(image * (mask < 0.5))
        return torch.cat([on_grid(mask, like), kept], dim=1)

    def _encoded(self, image: Tensor) -> Tensor:
        return self.vae.encode(image[None].to(self.device, dtype_of(self.vae))).float()

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        drawn = [sketch for sketch in sketches if isinstance(sketch, DiffusionSketch)]
        assert len(drawn) == len(sketches)
        for alike in grouped(drawn):
            for sketch, output in zip(alike, self._guided(alike), strict=True):
                _proceed(sketch, output)

    def _guided(self, sketches: Sequence[DiffusionSketch]) -> list[Tensor]:
        """What the denoiser says to each, (1, C, h, w), in one call: it has one row, and two where guidance acts."""
        rows = [(one, 0) for one in sketches] + [(one, 1) for one in sketches if one.guidance != 1.0]
        outputs = iter(self._denoised(rows).float().split(1))
        plain = [next(outputs) for _ in sketches]
        return [
            _steered(sketch, cond, next(outputs)) if sketch.guidance != 1.0 else cond
            for sketch, cond in zip(sketches, plain, strict=True)
        ]

    def _denoised(self, rows: Sequence[tuple[DiffusionSketch, int]]) -> Tensor:
        """Of sketches with the number of one of their texts."""
        dtype = dtype_of(self.unet)
        tokens = torch.cat([one.texts.tokens[row : row + 1] for one, row in rows])
        added = [vector[row : row + 1] for one, row in rows for vector in _maybe(one.added)]
        sketches = [one for one, _ in rows] if added else _once([one for one, _ in rows])
        x = torch.cat([torch.cat([one.solver.x, *_maybe(one.shown)], dim=1) for one in sketches])
        t = torch.tensor([one.solver.t for one in sketches], device=x.device)
        out: Tensor = self.unet(x.to(dtype), t, tokens.to(dtype), torch.cat(added) if added else None)
        return out

    def _added(self, texts: Conditioning, height: int, width: int) -> Tensor | None:
        """SDXL's vector: of the text, and that the picture was never larger than it is, nor cut."""
        if texts.pooled is None or not self.config.unet.added:
            return None
        sizes = torch.tensor([height, width, 0, 0, height, width], device=texts.pooled.device)
        return embed_sizes(texts.pooled, sizes.expand(len(texts.pooled), -1))


def _proceed(sketch: DiffusionSketch, output: Tensor) -> None:
    sketch.solver.take(output, sketch.generator)
    sketch.step += 1
    if (known := sketch.known) is not None:
        kept = sketch.solver.noised(known.latents, known.noise)
        sketch.solver.x = known.mask * sketch.solver.x + (1.0 - known.mask) * kept


def _once(sketches: list[DiffusionSketch]) -> list[DiffusionSketch]:
    """The first half, where the second is the same again: the network reads each with both of its texts."""
    half = len(sketches) // 2
    twice = 2 * half == len(sketches) and all(a is b for a, b in zip(sketches, sketches[half:], strict=False))
    return sketches[:half] if twice else sketches


def _steered(sketch: DiffusionSketch, cond: Tensor, uncond: Tensor) -> Tensor:
    scale, share = (cond.new_tensor([one]) for one in (sketch.guidance, sketch.request.knobs.rescale))
    return rescale(guide(cond, uncond, scale), cond, share)


def _maybe(tensor: Tensor | None) -> list[Tensor]:
    return [] if tensor is None else [tensor]


def grouped(sketches: Iterable[DiffusionSketch]) -> list[list[DiffusionSketch]]:
    """Those that can go through the network together: of one size, and with texts of as many chunks."""
    groups: dict[tuple[torch.Size, int], list[DiffusionSketch]] = defaultdict(list)
    for one in sketches:
        groups[one.solver.x.shape, one.texts.tokens.shape[1]].append(one)
    return list(groups.values())


def dtype_of(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def on_grid(mask: Tensor, like: Tensor) -> Tensor:
    """(1, H, W) of pixels to (1, 1, h, w): each place the mean of its pixels, so that edges are soft."""
    return F.adaptive_avg_pool2d(mask[None].to(like), like.shape[-2:])


@torch.no_grad()
def decoded(vae: VAE, latents: Tensor) -> Tensor:
    """(1, C, h, w) to the picture, (3, H, W) in [-1, 1]."""
    return vae.decode(latents.to(dtype_of(vae)))[0].float().clamp(-1.0, 1.0)
