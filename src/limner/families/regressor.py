"""Caption to picture by convolutions and mean squared error: the tutorials' decoder, the baseline of all the others.

The error is least at the mean of all pictures that a caption allows, E[x | caption]. This is what the family
draws, and why it blurs. It takes no noise: a caption has one picture, whatever the seed.

B batch, L text tokens, W text width, C channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Generator, Tensor, nn

from limner.core import Batch, Family, Request, Sketch, Step, Tokenizer, check, prompt_alone, seeded
from limner.text.transformer import TextConfig, TextTransformer

START = 4  # pixels a side of the first map
GROUPS = 8  # of the group norms


@dataclass(frozen=True, slots=True)
class Config:
    image_size: int = 128
    width: int = 512  # channels of the 4 x 4 map; halved whenever the sides double
    narrowest: int = 32  # where the halving stops
    text: TextConfig = field(default_factory=lambda: TextConfig(depth=4))

    def __post_init__(self) -> None:
        doublings = (self.image_size // START).bit_length() - 1
        check(
            doublings > 0 and self.image_size == START << doublings,
            f"image_size = {self.image_size} is not 4 doubled some times; set 32, 64 or 128, say",
        )
        check(
            all(channels >= GROUPS and channels % GROUPS == 0 for channels in self.channels),
            f"width = {self.width} and narrowest = {self.narrowest} give maps of {self.channels} channels; "
            f"each must divide by {GROUPS}: set powers of two",
        )

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the map at 4 x 4 and after each doubling."""
        doublings = (self.image_size // START).bit_length() - 1
        return self.width, *(max(self.width >> place, self.narrowest) for place in range(1, doublings + 1))


@dataclass(frozen=True, slots=True)
class Knobs:
    """Nothing can be set: there is one picture for a caption, drawn in one step."""


@dataclass(slots=True, kw_only=True)
class RegressorSketch(Sketch):
    text: Tensor  # (W,): the prompt, pooled


class Decoder(nn.Module):
    """A vector (B, W) to a picture (B, 3, H, W), with nothing to hold it within [-1, 1]: means lie there anyway."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        first, *_, last = config.channels
        self.start = nn.Linear(config.text.width, first * START * START)
        self.doublings = nn.Sequential(*itertools.starmap(_doubling, itertools.pairwise(config.channels)))
        self.out = nn.Conv2d(last, 3, 3, padding=1)

    def forward(self, vector: Tensor) -> Tensor:
        x = rearrange(self.start(vector), "B (C h w) -> B C h w", h=START, w=START)
        out: Tensor = self.out(self.doublings(x))
        return out


def _doubling(channels: int, after: int) -> nn.Sequential:
    """Group norm, so that a picture is the same alone and in a batch."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(channels, after, 3, padding=1),
        nn.GroupNorm(GROUPS, after),
        nn.SiLU(),
    )


class Regressor(Family):
    Config = Config
    Knobs = Knobs
    presets: ClassVar[dict[str, Config]] = {"base": Config()}
    presets["tiny"] = replace(
        presets["base"], image_size=32, width=64, narrowest=16,
        text=TextConfig(width=64, depth=1, heads=2, hidden=128, length=32),
    )  # fmt: skip

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.text = TextTransformer(config.text, tokenizer)
        self.decoder = Decoder(config)
        nn.init.zeros_(self.decoder.out.weight)  # it begins as one colour, the mean one once calibrated
        nn.init.zeros_(self.decoder.out.bias)

    # -- training ----------------------------------------------------------------------------------

    def calibrate(self, batch: Batch) -> None:
        with torch.no_grad():
            self.decoder.out.bias.copy_(batch.images.mean(dim=(0, 2, 3)))

    def steps(self) -> list[Step]:
        return [Step("regress", list(self.parameters()), self.loss)]

    def loss(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Mean squared error of the pixels. Nothing is drawn from `generator`."""
        return {"loss": F.mse_loss(self.decoder(self.pool(batch.captions)), batch.images)}

    # -- drawing -----------------------------------------------------------------------------------

    def pool(self, texts: Sequence[str]) -> Tensor:
        """The mean over each text's tokens, (B, W)."""
        features = self.text(texts)
        share = features.mask / features.mask.sum(dim=1, keepdim=True)
        return torch.einsum("BLW,BL->BW", features.tokens, share)

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        for request in requests:
            prompt_alone(request, "a regressor")
        texts = self.pool([request.prompt for request in requests])
        return [
            RegressorSketch(request=request, generator=seeded(request.seed), steps=1, text=text)
            for request, text in zip(requests, texts, strict=True)
        ]

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        drawn = [sketch for sketch in sketches if isinstance(sketch, RegressorSketch)]
        assert len(drawn) == len(sketches)
        pictures = self.decoder(torch.stack([sketch.text for sketch in drawn]))
        for sketch, picture in zip(drawn, pictures, strict=True):
            sketch.estimate = picture
            sketch.step += 1
