"""A cascade of two rectified flows: 4 x 4 pixels from words, then 16 x 16 from those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from limner.core import Batch, Family, Request, Sketch, Step, Tokenizer, check, seeded
from limner.process.guidance import guide
from limner.process.rectified import mix
from limner.process.samplers import euler
from tests.toys.words import SIDE, Words, dropped, refuse


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
