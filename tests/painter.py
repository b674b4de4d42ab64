"""A family that needs no training: each step adds noise of the picture's own generator and a colour of its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
import torch
from torch import Tensor, nn

from limner import families
from limner.core import Family, InputError, Request, Sketch, Step, Tokenizer, check, seeded


@dataclass(frozen=True, slots=True)
class Config:
    image_size: int = 8
    width: int = 4


@dataclass(frozen=True, slots=True)
class Knobs:
    steps: int = 3
    guidance: float = 1.0
    brush: Literal["round", "flat"] = "round"

    def __post_init__(self) -> None:
        check(0 <= self.steps <= 100, f"steps = {self.steps} is not from 0 to 100")


class Painter(Family):
    Config = Config
    Knobs = Knobs
    presets: ClassVar[dict[str, Config]] = {"tiny": Config(), "base": Config()}

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.embed = nn.Embedding(tokenizer.size, config.width)
        self.colour = nn.Linear(config.width, 3)
        self.register_buffer("scale", torch.tensor([0.3]))
        self.register_buffer("ramp", torch.linspace(0.5, 1.0, config.image_size), persistent=False)
        self.together: list[int] = []  # how many sketches each call advanced

    def steps(self) -> list[Step]:
        raise NotImplementedError

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        if any(request.mask is not None and request.image is None for request in requests):
            raise InputError("a mask needs the image that it belongs to: give the image too")
        return [self._begin(request) for request in requests]

    def _begin(self, request: Request) -> Sketch:
        blank = torch.zeros(3, self.config.image_size, self.config.image_size)
        estimate = blank if request.image is None else request.image.clone()
        steps = request.knobs.steps
        return Sketch(
            request=request, generator=seeded(request.seed), steps=steps, estimate=None if steps else estimate
        )

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        self.together.append(len(sketches))
        for sketch in sketches:
            before = sketch.estimate if sketch.estimate is not None else sketch.request.image
            noise = torch.randn(3, *self.ramp.shape * 2, generator=sketch.generator) * self.ramp
            texts = (sketch.request.prompt, sketch.request.negative_prompt)
            wanted, unwanted = (self._tint(text) for text in texts)
            step = self.scale * noise + 0.1 * sketch.request.knobs.guidance * (wanted - unwanted)
            sketch.estimate = step if before is None else (before + step).clamp(-1, 1)
            sketch.step += 1

    def _tint(self, text: str) -> Tensor:
        ids, _ = self.tokenizer.encode([text], 16)
        return self.colour(self.embed(ids[0]).mean(dim=0))[:, None, None].tanh()


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer) -> Painter:
    """A painter with fixed weights, known to the table as "painter"."""
    monkeypatch.setitem(families.TABLE, "painter", "tests.painter:Painter")
    torch.manual_seed(0)
    return Painter(Config(), tokenizer)
