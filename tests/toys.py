"""Families of under 10,000 parameters that really learn, each the smallest of its kind that the contract must hold.

A GAN has two losses in turn; a model over tokens has a codec that is a step of its own; a cascade has
two stages, by which `advance` groups its sketches.

B batch, N image tokens, W text width, D bits of a token, p patch side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Generator, Tensor, nn

from limner.core import Batch, Family, InputError, Request, Sketch, Step, Tokenizer, check, seeded
from limner.process.guidance import guide
from limner.process.rectified import mix
from limner.process.samplers import euler

SIDE = 4  # of the coarse grid, and of a patch


class Words(nn.Module):
    """The mean of a text's token vectors, brought to unit size, (B, W)."""

    def __init__(self, width: int, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.embed = nn.Embedding(tokenizer.size, width)

    def forward(self, texts: Sequence[str]) -> Tensor:
        ids, mask = self.tokenizer.encode(texts, 32)
        share = mask / mask.sum(dim=1, keepdim=True)
        mean = torch.einsum("BLW,BL->BW", self.embed(ids), share)
        return F.rms_norm(mean, mean.shape[1:])


def refuse(request: Request, **unused: Any) -> None:
    for name, value in unused.items():
        if value is not None and value != "":
            raise InputError(f"this family has no use for {name}: leave it out")


def dropped(captions: Sequence[str], share: float, generator: Generator) -> list[str]:
    """Some captions replaced by the empty one, for guidance."""
    draws = torch.rand(len(captions), generator=generator).tolist()
    return [caption if draw >= share else "" for caption, draw in zip(captions, draws, strict=True)]


# ---------------------------------------------------------------------------------------------------
# A GAN (Reed et al. 2016): the critic sees a true pair, a drawn one, and a picture with another's caption.


@dataclass(frozen=True, slots=True)
class GANConfig:
    image_size: int = 16
    width: int = 8
    noise: int = 4
    hidden: int = 32
    penalty: float = 1.0

    def __post_init__(self) -> None:
        check(self.image_size >= SIDE, f"image_size = {self.image_size} is below {SIDE}")


@dataclass(frozen=True, slots=True)
class GANKnobs:
    truncation: float = 1.0  # the noise's standard deviation

    def __post_init__(self) -> None:
        check(0.0 <= self.truncation <= 1.0, f"truncation = {self.truncation} is not from 0 to 1")


@dataclass(slots=True, kw_only=True)
class GANSketch(Sketch):
    text: Tensor
    noise: Tensor


class GAN(Family):
    Config = GANConfig
    Knobs = GANKnobs
    presets: ClassVar[dict[str, GANConfig]] = {"tiny": GANConfig(), "base": GANConfig(hidden=64)}

    def __init__(self, config: GANConfig, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        numbers = 3 * SIDE * SIDE
        self.words = Words(config.width, tokenizer)
        self.artist = nn.Sequential(
            nn.Linear(config.width + config.noise, config.hidden), nn.SiLU(), nn.Linear(config.hidden, numbers),
            nn.Tanh(), nn.Unflatten(1, (3, SIDE, SIDE)), nn.Upsample(config.image_size),
        )  # fmt: skip
        self.critic_words = Words(config.width, tokenizer)
        self.critic = nn.Sequential(
            nn.AdaptiveAvgPool2d(SIDE), nn.Flatten(), nn.Linear(numbers, config.hidden), nn.SiLU(),
            nn.Linear(config.hidden, config.width + 1),
        )  # fmt: skip

    def steps(self) -> list[Step]:
        artist = [*self.words.parameters(), *self.artist.parameters()]
        critic = [*self.critic_words.parameters(), *self.critic.parameters()]
        return [Step("critic", critic, self.judge), Step("artist", artist, self.please)]

    def judge(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        with torch.no_grad():
            drawn = self.draw(self.words(batch.captions), self.noise(len(batch), generator))
        others = [*batch.captions[1:], *batch.captions[:1]]
        true, false = self.score(batch.images, batch.captions), self.score(drawn, batch.captions)
        swapped, steepness = self.score(batch.images, others), self.steepness(batch)
        loss = F.softplus(-true).mean() + 0.5 * (F.softplus(false) + F.softplus(swapped)).mean()
        return {"loss": loss + self.config.penalty * steepness, "steepness": steepness.detach()}

    def steepness(self, batch: Batch) -> Tensor:
        """The gradient penalty R1 (Mescheder et al. 2018), without which the two go round in circles.

        It needs gradients even where the loss is only looked at.
        """
        with torch.enable_grad():
            images = batch.images.clone().requires_grad_()
            score = self.score(images, batch.captions).sum()
            (slope,) = torch.autograd.grad(score, images, create_graph=True)
        return slope.square().sum(dim=(1, 2, 3)).mean()

    def please(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        drawn = self.draw(self.words(batch.captions), self.noise(len(batch), generator))
        return {"loss": F.softplus(-self.score(drawn, batch.captions)).mean()}

    def noise(self, count: int, generator: Generator) -> Tensor:
        return torch.randn(count, self.config.noise, generator=generator)

    def draw(self, text: Tensor, noise: Tensor) -> Tensor:
        return self.artist(torch.cat([text, noise], dim=1))

    def score(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """A projection critic (Miyato and Koyama 2018): is it a picture, and is it this caption's?"""
        seen = self.critic(images)
        return seen[:, 0] + (seen[:, 1:] * self.critic_words(captions)).sum(dim=1)

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        return [self._begin(request) for request in requests]

    def _begin(self, request: Request) -> GANSketch:
        refuse(request, image=request.image, mask=request.mask, negative_prompt=request.negative_prompt)
        generator = seeded(request.seed)
        noise = request.knobs.truncation * self.noise(1, generator)
        return GANSketch(request=request, generator=generator, steps=1, text=self.words([request.prompt]), noise=noise)

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        text, noise = (torch.cat([getattr(one, name) for one in sketches]) for name in ("text", "noise"))
        for sketch, picture in zip(sketches, self.draw(text, noise), strict=True):
            sketch.estimate, sketch.step = picture, sketch.step + 1


# ---------------------------------------------------------------------------------------------------
# An autoregressive model over the tokens of a codec of patches, quantised to bits (Yu et al. 2023).


@dataclass(frozen=True, slots=True)
class AutoregressiveConfig:
    image_size: int = 16
    bits: int = 6  # of a token
    width: int = 8
    hidden: int = 32
    dropped: float = 0.1

    def __post_init__(self) -> None:
        check(self.image_size % SIDE == 0, f"image_size = {self.image_size} does not divide into patches of {SIDE}")


@dataclass(frozen=True, slots=True)
class AutoregressiveKnobs:
    temperature: float = 0.5
    guidance: float = 1.5

    def __post_init__(self) -> None:
        check(self.temperature > 0.0, f"temperature = {self.temperature} is not above 0")


@dataclass(slots=True, kw_only=True)
class AutoregressiveSketch(Sketch):
    tokens: Tensor  # (N,), of which the first `step` are drawn
    text: Tensor  # (2, W): the prompt and the negative one


class BitCodec(nn.Module):
    """Patches of 4 x 4 pixels to tokens of some bits and back: the sign of each feature, straight through."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.register_buffer("places", 2 ** torch.arange(bits), persistent=False)
        self.into = nn.Linear(3 * SIDE * SIDE, bits)
        self.out = nn.Linear(bits, 3 * SIDE * SIDE)

    def features(self, images: Tensor) -> Tensor:
        """(B, N, D), of which the signs are the token."""
        return self.into(rearrange(images, "B c (h p) (w q) -> B (h w) (c p q)", p=SIDE, q=SIDE))

    def paint(self, signs: Tensor) -> Tensor:
        height = int(signs.shape[1] ** 0.5)
        return rearrange(self.out(signs), "B (h w) (c p q) -> B c (h p) (w q)", h=height, p=SIDE, q=SIDE)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Tokens (B, N)."""
        return (self.features(images).gt(0) * self.places).sum(dim=-1)

    def decode(self, tokens: Tensor) -> Tensor:
        return self.paint((tokens[..., None] // self.places % 2) * 2.0 - 1.0)


class Autoregressive(Family):
    """A token is told by the one before it, the one above it, its place and the text."""

    Config = AutoregressiveConfig
    Knobs = AutoregressiveKnobs
    presets: ClassVar[dict[str, AutoregressiveConfig]] = {"tiny": AutoregressiveConfig()}
    presets["base"] = replace(presets["tiny"], hidden=64)

    def __init__(self, config: AutoregressiveConfig, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.side = config.image_size // SIDE
        self.codec = BitCodec(config.bits)
        self.words = Words(config.width, tokenizer)
        self.embed = nn.Embedding(2**config.bits + 1, config.width)  # the last one stands outside the picture
        self.place = nn.Parameter(torch.randn(self.side**2, config.width))
        self.tell = nn.Sequential(
            nn.Linear(4 * config.width, config.hidden), nn.SiLU(), nn.Linear(config.hidden, 2**config.bits)
        )

    def steps(self) -> list[Step]:
        codec = list(self.codec.parameters())
        rest = [*self.words.parameters(), *self.embed.parameters(), self.place, *self.tell.parameters()]
        return [Step("codec", codec, self.reconstruct), Step("tokens", rest, self.predict)]

    def reconstruct(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """The picture's error, and how far the features are from the signs that stand for them."""
        features = self.codec.features(batch.images)
        signs = torch.where(features > 0, 1.0, -1.0)
        painted = self.codec.paint(features + (signs - features).detach())
        error, distance = F.mse_loss(painted, batch.images), F.mse_loss(features, signs)
        return {"loss": error + distance, "error": error.detach(), "distance": distance.detach()}

    def predict(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        tokens = self.codec.encode(batch.images)
        text = self.words(dropped(batch.captions, self.config.dropped, generator))
        count = tokens.shape[1]
        logits = self.logits(
            tokens.repeat_interleave(count, 0), torch.arange(count).repeat(len(batch)), text.repeat_interleave(count, 0)
        )
        return {"loss": F.cross_entropy(logits, tokens.flatten())}

    def logits(self, tokens: Tensor, places: Tensor, text: Tensor) -> Tensor:
        """Of each row's token at its own place, from the ones before it: (B, N), (B,) and (B, W) to (B, 2^D)."""
        outside = torch.full_like(tokens[:, :1], 2**self.config.bits)
        before, above = (
            torch.where(places >= back, tokens.gather(1, (places - back).clamp(min=0)[:, None])[:, 0], outside[:, 0])
            for back in (1, self.side)
        )
        return self.tell(torch.cat([self.embed(before), self.embed(above), self.place[places], text], dim=1))

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        return [self._begin(request) for request in requests]

    def _begin(self, request: Request) -> AutoregressiveSketch:
        refuse(request, image=request.image, mask=request.mask)
        return AutoregressiveSketch(
            request=request, generator=seeded(request.seed), steps=self.side**2,
            tokens=torch.zeros(self.side**2, dtype=torch.int64),
            text=self.words([request.prompt, request.negative_prompt]),
        )  # fmt: skip

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        places = torch.tensor([one.step for one in sketches])
        tokens = torch.stack([one.tokens for one in sketches])
        texts = torch.stack([one.text for one in sketches], dim=1).flatten(0, 1)
        cond, uncond = self.logits(tokens.repeat(2, 1), places.repeat(2), texts).chunk(2)
        logits = guide(cond, uncond, torch.tensor([one.request.knobs.guidance for one in sketches]))
        for row, sketch in enumerate(sketches):
            chances = (logits[row] / sketch.request.knobs.temperature).softmax(dim=0).cumsum(dim=0)
            draw = torch.rand(1, generator=sketch.generator)
            sketch.tokens[sketch.step] = torch.searchsorted(chances, draw).clamp(max=len(chances) - 1)
            sketch.step += 1
        self._estimate(sketches)

    def _estimate(self, sketches: Sequence[Sketch]) -> None:
        """What is drawn so far, on grey."""
        pictures = self.codec.decode(torch.stack([one.tokens for one in sketches]))
        for sketch, picture in zip(sketches, pictures, strict=True):
            drawn = (torch.arange(self.side**2) < sketch.step).float().reshape(1, self.side, self.side)
            sketch.estimate = picture * drawn.repeat_interleave(SIDE, 1).repeat_interleave(SIDE, 2)


# ---------------------------------------------------------------------------------------------------
# A cascade of two rectified flows: 4 x 4 pixels from words, then 16 x 16 from those.


@dataclass(frozen=True, slots=True)
class CascadeConfig:
    image_size: int = 16
    width: int = 8
    hidden: int = 40
    fine_hidden: int = 20
    dropped: float = 0.1
    blur: float = 0.1  # noise on what the second stage is given, in training (Ho et al. 2022)

    def __post_init__(self) -> None:
        check(self.image_size == SIDE * SIDE, f"image_size = {self.image_size} is not {SIDE * SIDE}")


@dataclass(frozen=True, slots=True)
class CascadeKnobs:
    steps: int = 4
    fine_steps: int = 3
    guidance: float = 1.5

    def __post_init__(self) -> None:
        check(self.steps >= 1 and self.fine_steps >= 1, f"steps = {self.steps}, {self.fine_steps}: each is 1 or more")


@dataclass(slots=True, kw_only=True)
class CascadeSketch(Sketch):
    text: Tensor  # (2, W): the prompt and the negative one
    x: Tensor  # the noisy picture of the stage that it is in
    coarse: Tensor | None = None  # the first stage's picture, once there is one

    def time(self, ahead: int = 0) -> float:
        knobs = self.request.knobs
        if self.coarse is None:
            return 1.0 - (self.step + ahead) / knobs.steps
        return 1.0 - (self.step + ahead - knobs.steps) / knobs.fine_steps


class Cascade(Family):
    Config = CascadeConfig
    Knobs = CascadeKnobs
    presets: ClassVar[dict[str, CascadeConfig]] = {"tiny": CascadeConfig()}
    presets["base"] = replace(presets["tiny"], hidden=64)

    def __init__(self, config: CascadeConfig, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        size = 3 * SIDE * SIDE
        self.words = Words(config.width, tokenizer)
        self.coarse = nn.Sequential(
            nn.Linear(size + 1 + config.width, config.hidden), nn.SiLU(), nn.Linear(config.hidden, size)
        )
        self.fine = nn.Sequential(
            nn.Conv2d(size + 3 + 1, config.fine_hidden, 1), nn.SiLU(), nn.Conv2d(config.fine_hidden, size, 1)
        )

    def steps(self) -> list[Step]:
        first = [*self.words.parameters(), *self.coarse.parameters()]
        return [Step("coarse", first, self.learn_coarse), Step("fine", list(self.fine.parameters()), self.learn_fine)]

    def learn_coarse(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        x0 = F.avg_pool2d(batch.images, SIDE)
        x, t = self.noised(x0, generator)
        text = self.words(dropped(batch.captions, self.config.dropped, generator))
        return {"loss": F.mse_loss(self.predict_coarse(x, t, text), x0)}

    def learn_fine(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        coarse = F.avg_pool2d(batch.images, SIDE)
        coarse = coarse + self.config.blur * torch.randn(coarse.shape, generator=generator)
        x, t = self.noised(batch.images, generator)
        return {"loss": F.mse_loss(self.predict_fine(x, t, coarse), batch.images)}

    def noised(self, x0: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        t = torch.rand(len(x0), generator=generator)
        return mix(x0, torch.randn(x0.shape, generator=generator), t), t

    def predict_coarse(self, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        return self.coarse(torch.cat([x.flatten(1), t[:, None], text], dim=1)).reshape(x.shape)

    def predict_fine(self, x: Tensor, t: Tensor, coarse: Tensor) -> Tensor:
        plane = t[:, None, None, None].expand(-1, 1, SIDE, SIDE)
        given = torch.cat([F.pixel_unshuffle(x, SIDE), coarse, plane], dim=1)
        return F.interpolate(coarse, scale_factor=SIDE) + F.pixel_shuffle(self.fine(given), SIDE)

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        return [self._begin(request) for request in requests]

    def _begin(self, request: Request) -> CascadeSketch:
        refuse(request, image=request.image, mask=request.mask)
        generator, knobs = seeded(request.seed), request.knobs
        return CascadeSketch(
            request=request, generator=generator, steps=knobs.steps + knobs.fine_steps,
            text=self.words([request.prompt, request.negative_prompt]),
            x=torch.randn(1, 3, SIDE, SIDE, generator=generator),
        )  # fmt: skip

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        first = [one for one in sketches if isinstance(one, CascadeSketch) and one.coarse is None]
        second = [one for one in sketches if isinstance(one, CascadeSketch) and one.coarse is not None]
        if first:
            self._advance_coarse(first)
        if second:
            self._advance_fine(second)

    def _advance_coarse(self, sketches: Sequence[CascadeSketch]) -> None:
        x, t = torch.cat([one.x for one in sketches]), torch.tensor([one.time() for one in sketches])
        texts = torch.stack([one.text for one in sketches], dim=1)
        x0 = self.predict_coarse(x.repeat(2, 1, 1, 1), t.repeat(2), texts.flatten(0, 1))
        x0 = guide(*x0.chunk(2), torch.tensor([one.request.knobs.guidance for one in sketches]))
        self._move(sketches, x, x0, t)
        for sketch, picture in zip(sketches, x0, strict=True):
            sketch.estimate = picture.repeat_interleave(SIDE, 1).repeat_interleave(SIDE, 2)
            if sketch.step == sketch.request.knobs.steps:
                sketch.coarse, size = sketch.x, self.config.image_size
                sketch.x = torch.randn(1, 3, size, size, generator=sketch.generator)

    def _advance_fine(self, sketches: Sequence[CascadeSketch]) -> None:
        x, t = torch.cat([one.x for one in sketches]), torch.tensor([one.time() for one in sketches])
        x0 = self.predict_fine(x, t, torch.cat([one.coarse for one in sketches if one.coarse is not None]))
        self._move(sketches, x, x0, t)
        for sketch, picture in zip(sketches, x0, strict=True):
            sketch.estimate = picture

    def _move(self, sketches: Sequence[CascadeSketch], x: Tensor, x0: Tensor, t: Tensor) -> None:
        following = torch.tensor([one.time(ahead=1) for one in sketches])
        x = euler(x, x0, x0, t, following, t)
        for row, sketch in enumerate(sketches):
            sketch.x, sketch.step = x[row : row + 1], sketch.step + 1


TOYS = {"gan": "tests.toys:GAN", "autoregressive": "tests.toys:Autoregressive", "cascade": "tests.toys:Cascade"}
