"""A rectified flow over tiles of one colour each, as many as there are: latents of a picture of any size.

B batch, W text width, h and w tiles down and across.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from limner import families
from limner.core import Batch, Family, InputError, Request, Sketch, Step, Tokenizer, check, seeded
from limner.process.rectified import mix
from limner.process.samplers import euler
from tests.toys.words import SIDE, Words, refuse


@dataclass(frozen=True, slots=True)
class MuralConfig:
    image_size: int = 16
    width: int = 8
    hidden: int = 48


@dataclass(frozen=True, slots=True)
class MuralKnobs:
    steps: int = 4
    strength: float = 0.5

    def __post_init__(self) -> None:
        check(self.steps >= 1, f"steps = {self.steps} is not 1 or more")
        check(0.0 < self.strength <= 1.0, f"strength = {self.strength} is not above 0 and up to 1")


@dataclass(slots=True, kw_only=True)
class MuralSketch(Sketch):
    text: Tensor  # (1, W)
    x: Tensor  # (1, 3, h, w)
    known: Tensor | None = None  # (1, 3, h, w), and what of it is painted, (1, 1, h, w)
    painted: Tensor | None = None

    def time(self, ahead: int = 0) -> Tensor:
        return torch.tensor([1.0 - (self.step + ahead) / self.steps])


class Mural(Family):
    Config = MuralConfig
    Knobs = MuralKnobs
    presets: ClassVar[dict[str, MuralConfig]] = {"tiny": MuralConfig()}
    presets["base"] = replace(presets["tiny"], hidden=64)

    def __init__(self, config: MuralConfig, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.words = Words(config.width, tokenizer)
        self.tell = nn.Sequential(
            nn.Linear(3 + 1 + 2 + config.width, config.hidden), nn.SiLU(),
            nn.Linear(config.hidden, config.hidden), nn.SiLU(), nn.Linear(config.hidden, 3),
        )  # fmt: skip

    @property
    def multiple(self) -> int:
        return SIDE

    def steps(self) -> list[Step]:
        return [Step("mural", list(self.parameters()), self.loss)]

    def loss(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        x0 = F.avg_pool2d(batch.images, SIDE)
        t = torch.rand(len(batch), generator=generator)
        x = mix(x0, torch.randn(x0.shape, generator=generator), t)
        return {"loss": F.mse_loss(self.predict(x, t, self.words(batch.captions)), x0)}

    def predict(self, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """x0 from x_t (B, 3, h, w), t (B,) and text (B, W): a tile's colour from its own, its place, the words."""
        count, _, h, w = x.shape
        down, across = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
        told = [
            x,
            t[:, None, None, None].expand(count, 1, h, w),
            torch.stack([down, across]).expand(count, 2, h, w),
            text[:, :, None, None].expand(-1, -1, h, w),
        ]
        return self.tell(torch.cat(told, dim=1).movedim(1, -1)).movedim(-1, 1)

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        return [self._begin(request) for request in requests]

    def _begin(self, request: Request) -> MuralSketch:
        refuse(request, negative_prompt=request.negative_prompt)
        size = request.size or (self.config.image_size, self.config.image_size)
        generator, knobs = seeded(request.seed), request.knobs
        sketch = MuralSketch(
            request=request, generator=generator, steps=knobs.steps, text=self.words([request.prompt]),
            x=torch.randn(1, 3, size[0] // SIDE, size[1] // SIDE, generator=generator),
        )  # fmt: skip
        if request.image is not None:
            if request.image.shape[1:] != size:
                raise InputError(f"the image is {tuple(request.image.shape[1:])}, not {size}")
            sketch.step = min(round(knobs.steps * (1.0 - knobs.strength)), knobs.steps - 1)
            sketch.known = F.avg_pool2d(request.image[None], SIDE)
            sketch.x = mix(sketch.known, sketch.x, sketch.time())
        if request.mask is not None:
            if request.image is None:
                raise InputError("a mask needs the image that it belongs to: give the image too")
            sketch.painted = F.avg_pool2d(request.mask[None], SIDE)
        return sketch

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        sizes: dict[torch.Size, list[MuralSketch]] = defaultdict(list)
        for sketch in sketches:
            assert isinstance(sketch, MuralSketch)
            sizes[sketch.x.shape].append(sketch)
        for alike in sizes.values():
            self._advance(alike)

    def _advance(self, sketches: Sequence[MuralSketch]) -> None:
        x, text = (torch.cat([getattr(one, name) for one in sketches]) for name in ("x", "text"))
        t, following = (torch.cat([one.time(ahead) for one in sketches]) for ahead in (0, 1))
        x0 = self.predict(x, t, text)
        for row, one in enumerate(sketches):
            if one.painted is not None and one.known is not None:
                x0[row] = torch.lerp(one.known, x0[row], one.painted)[0]
        x = euler(x, x0, x0, t, following, t)
        for row, sketch in enumerate(sketches):
            sketch.x, sketch.step = x[row : row + 1], sketch.step + 1
            sketch.estimate = x0[row].repeat_interleave(SIDE, 1).repeat_interleave(SIDE, 2)


@pytest.fixture
def mural(monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer) -> Mural:
    """A mural with fixed weights, known to the table as "mural"."""
    monkeypatch.setitem(families.TABLE, "mural", "tests.toys.mural:Mural")
    torch.manual_seed(0)
    return Mural(MuralConfig(), tokenizer)
