"""An autoregressive model over the tokens of a codec of patches, quantised to bits (Yu et al. 2023).

B batch, N image tokens, W text width, D bits of a token, p patch side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Generator, Tensor, nn

from limner.core import Batch, Family, Request, Sketch, Step, Tokenizer, check, seeded
from limner.process.guidance import guide
from tests.toys.words import SIDE, Words, dropped, refuse


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
