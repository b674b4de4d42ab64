"""Anything with an image encoder as an extractor: CLIP, ours or somebody's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from limner.evaluate.extractors.resize import PILLOW, Resize, levels
from limner.evaluate.features import ExtractorId
from limner.judge import Judge

HALF = (0.5, 0.5, 0.5)


class ImageEncoder:
    """`encode` takes (B, 3, side, side), less `mean` and over `spread` for pixels in 0..1, and gives (B, D).

    The default mean and spread leave pictures in [-1, 1]. Captions belong to the same `id`:
    `Features.of(encode_text(prompts), encoder.id, prompts=prompts)`.
    """

    def __init__(
        self,
        encode: Callable[[Tensor], Tensor],
        *,
        name: str,
        side: int,
        hash: str = "",
        mean: tuple[float, float, float] = HALF,
        spread: tuple[float, float, float] = HALF,
        resize: Resize = PILLOW,
    ) -> None:
        self.encode, self.side, self.mean, self.spread, self.resize = encode, side, mean, spread, resize
        self.id = ExtractorId(name, hash, resize.name)

    @staticmethod
    def of(judge: Judge, *, resize: Resize = PILLOW) -> ImageEncoder:
        """A CLIP, ours or another program's (`Judge.load`); of its captions: `judge.embed_texts(prompts)`."""
        clip = judge.clip
        return ImageEncoder(
            clip.embed_images, name=judge.name, hash=judge.hash, side=clip.config.image_size, resize=resize
        )

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        pixels = self.resize(levels(images), self.side) / 255
        mean, spread = (pixels.new_tensor(one)[:, None, None] for one in (self.mean, self.spread))
        return self.encode((pixels - mean) / spread)
