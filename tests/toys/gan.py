"""A GAN (Reed et al. 2016): the critic sees a true pair, a drawn one, and a picture with another's caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from limner.core import Batch, Family, Request, Sketch, Step, Tokenizer, check, seeded
from tests.toys.words import SIDE, Words, refuse


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
