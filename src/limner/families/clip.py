"""Contrastive language-image pre-training (Radford et al. 2021): pictures and texts as vectors of one space.

It draws no pictures: it says how near a picture is to a text, and so judges those that others draw, ranks
them, and names what they show.

B batch, E embedding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from limner.core import Batch, Family, Step, Tokenizer, check
from limner.nn.prenorm import Activation, PreNormConfig
from limner.nn.vit import VisionTransformer
from limner.process.contrast import contrast
from limner.text.clip import ClipText, ClipTextConfig

FIRST_SCALE = 1 / 0.07
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Config:
    image_size: int = 64
    patch: int = 16  # pixels a side; (image_size / patch) squared tokens
    embedding: int = 128  # dimensions of the space that both towers share
    vision: PreNormConfig = field(default_factory=lambda: PreNormConfig(width=128, depth=5, heads=4, hidden=512))
    text: ClipTextConfig = field(default_factory=lambda: ClipTextConfig(width=128, depth=3, heads=4, hidden=512))
    activation: Activation = "gelu"
    most_scale: float = 100.0  # what the learnt inverse temperature is clamped to
    mean: Triple = (0.5, 0.5, 0.5)  # of pixels from 0 to 1, subtracted first
    spread: Triple = (0.5, 0.5, 0.5)  # their standard deviation, divided by then

    def __post_init__(self) -> None:
        check(self.embedding > 0, f"embedding = {self.embedding} must be above 0")
        check(
            self.image_size >= self.patch > 0 and self.image_size % self.patch == 0,
            f"image_size = {self.image_size} does not divide into patches of {self.patch}",
        )
        check(self.most_scale >= 1.0, f"most_scale = {self.most_scale} is below 1, where logits tell nothing; set 100")
        check(min(self.spread) > 0.0, f"spread = {self.spread} divides the pixels: each must be above 0")


class CLIP(Family):
    mean: Tensor
    spread: Tensor

    Config = Config
    presets: ClassVar[dict[str, Config]] = {"base": Config()}
    presets["tiny"] = replace(
        presets["base"], image_size=32, patch=8, embedding=32,
        vision=PreNormConfig(width=32, depth=2, heads=2, hidden=64),
        text=ClipTextConfig(width=32, depth=2, heads=2, hidden=64, length=32),
    )  # fmt: skip

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.vision = VisionTransformer(
            config.vision, image_size=config.image_size, patch=config.patch, out=config.embedding,
            activation=config.activation,
        )  # fmt: skip
        self.text = ClipText(config.text, tokenizer, out=config.embedding, activation=config.activation)
        self.scale = nn.Parameter(torch.empty(()))
        nn.init.constant_(self.scale, math.log(FIRST_SCALE))
        for edge in (self.vision.project, self.text.project):
            edge._limner_group = "adamw"  # type: ignore[assignment]  # Muon is for hidden matrices
        for name, values in (("mean", config.mean), ("spread", config.spread)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    # -- training ----------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        return [Step("clip", list(self.parameters()), self.loss)]

    def loss(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Each picture picks its caption among the batch's, each caption its picture. Nothing is drawn at random.

        `nearest` is the share of pictures whose own caption is the nearest.
        """
        self._clamp()
        losses = contrast(self.features(batch.images), self.text(batch.captions), self.scale.exp())
        return {**losses, "scale": self.scale.detach().exp()}

    @torch.no_grad()
    def _clamp(self) -> None:
        """The optimiser knows no bounds: what its last step carried beyond them is put back before it is used.

        Clamping in the graph instead would stop the gradient, and the scale would never come down again.
        """
        self.scale.clamp_(0.0, math.log(self.config.most_scale))

    # -- the space ---------------------------------------------------------------------------------

    def features(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, S, S) in [-1, 1], S = image_size, to (B, E) before they are made unit vectors."""
        features: Tensor = self.vision(((images + 1.0) / 2.0 - self.mean) / self.spread)
        return features

    @torch.no_grad()
    def embed_images(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1], of any size, to unit vectors (B, E)."""
        return unit(self.features(fitted(images.to(self.device), self.config.image_size)))

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts to unit vectors (B, E)."""
        return unit(self.text(texts))


def unit(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1)


def fitted(images: Tensor, size: int) -> Tensor:
    """As OpenAI's preprocessing: the shorter side to `size` by an antialiased bicubic kernel, then the middle.

    The longer side is rounded down and the margin to the nearest, as torchvision does it.
    """
    height, width = images.shape[-2:]
    if (height, width) == (size, size):
        return images
    short = min(height, width)
    scaled = [side * size // short for side in (height, width)]
    images = F.interpolate(images, scaled, mode="bicubic", antialias=True).clamp(-1.0, 1.0)
    top, left = (round((side - size) / 2) for side in scaled)
    return images[..., top : top + size, left : left + size]
