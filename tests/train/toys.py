"""Families of about a hundred parameters, so that a training run takes milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from limner.core import Batch, Example, Family, Request, Sketch, Step, seeded
from limner.train.recipe import Recipe

SIZE = 4


class Letters:
    """A tokenizer of characters."""

    size = 128

    def encode(self, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
        rows = [[ord(letter) % 128 for letter in text][:length] or [0] for text in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        return ids, ids.ne(0)

    def to_json(self) -> str:
        return "{}"


@dataclass(frozen=True, slots=True)
class Inner:
    width: int = 3


@dataclass(frozen=True, slots=True)
class Config:
    image_size: int = SIZE
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True, slots=True)
class Knobs:
    steps: int = 1


class Noise:
    """A source: example i is noise from a generator seeded by (seed, i)."""

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.read = seed, []

    def __getitem__(self, index: int) -> Example:
        self.read.append(index)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        image = torch.randint(0, 256, (3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
        return Example(image, "ab"[index % 2])


class Plain(Family):
    """One step. Linear layers, a norm with its buffer, dropout (the global random state) and noise (the loop's)."""

    Config, Knobs = Config, Knobs
    presets: Any = {"tiny": Config(), "base": Config()}  # noqa: RUF012

    def __init__(self, config: Any = None, tokenizer: Any = None) -> None:
        super().__init__(config or Config(), tokenizer or Letters())
        width = self.config.inner.width
        self.calibrated = 0
        self.register_buffer("mean", torch.zeros(3))
        self.into = nn.Linear(3, width)
        self.norm = nn.BatchNorm1d(width)
        self.hidden = nn.Linear(width, width, bias=False)
        self.also = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(2 * width, 3)
        for edge in (self.into, self.out):
            edge._limner_group = "adamw"
        seeds = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(std=0.5, generator=seeds)

    def calibrate(self, batch: Batch) -> None:
        self.calibrated += len(batch)
        self.mean.copy_(batch.images.mean(dim=(0, 2, 3)))

    def predict(self, x: Tensor) -> Tensor:
        h = self.norm(self.into(x - self.mean))
        return self.out(self.also(F.dropout(self.hidden(h), 0.3, self.training)))

    def steps(self) -> list[Step]:
        return [Step("plain", list(self.parameters()), self.loss)]

    def loss(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        x = batch.images.mean(dim=(2, 3))
        noise = torch.randn(x.shape, generator=generator).to(x)
        error = self.predict(x + noise) - x
        return {"loss": error.square().mean(), "absolute": error.detach().abs().mean()}

    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        return [Sketch(request=one, generator=seeded(one.seed), steps=one.knobs.steps) for one in requests]

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        for sketch in sketches:
            colour = self.predict(torch.randn(1, 3, generator=sketch.generator))
            sketch.estimate = colour[0, :, None, None].expand(3, SIZE, SIZE).clamp(-1.0, 1.0)
            sketch.step += 1


class Duel(Plain):
    """A GAN: the critic learns in every second iteration, the maker in each."""

    def __init__(self, config: Any = None, tokenizer: Any = None) -> None:
        super().__init__(config, tokenizer)
        self.critic = nn.Linear(3, 1)
        nn.init.constant_(self.critic.weight, 0.1)
        nn.init.zeros_(self.critic.bias)
        self.seen: list[str] = []

    def steps(self) -> list[Step]:
        critic = set(self.critic.parameters())
        maker = [one for one in self.parameters() if one not in critic]
        return [
            Step("critic", list(self.critic.parameters()), self.judge, every=2),
            Step("maker", maker, self.make),
        ]

    def judge(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        self.seen.append("critic")
        assert not torch.is_grad_enabled() or not any(one.requires_grad for one in self.out.parameters())
        x = batch.images.mean(dim=(2, 3))
        fake = self.predict(torch.randn(x.shape, generator=generator))
        return {"loss": F.softplus(self.critic(fake)).mean() + F.softplus(-self.critic(x)).mean()}

    def make(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        self.seen.append("maker")
        assert not torch.is_grad_enabled() or not any(one.requires_grad for one in self.critic.parameters())
        fake = self.predict(torch.randn(len(batch), 3, generator=generator))
        return {"loss": F.softplus(-self.critic(fake)).mean()}


def recipe(**train: Any) -> Recipe:
    """A recipe for the toys: 10 iterations of 2 x 4 images unless told otherwise."""
    defaults = {
        "images": 80, "batch": 4, "accumulate": 2, "validate_every": 40, "validation_images": 6,
        "samples_every": 40, "checkpoint_every": 1000.0, "ema": 100.0, "compile": "off",
    }  # fmt: skip
    values: dict[str, Any] = {
        "model": {"family": "plain"},
        "train": {**defaults, **train},
        "optimizer": {"lr": 1e-2, "warmup": 20},
    }
    return Recipe.parse(values, "test")
