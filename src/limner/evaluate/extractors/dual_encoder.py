"""What puts pictures and words into one space, a CLIP, as an extractor that reads both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from limner.evaluate.features import Extractor, Features


class DualEncoder:
    """`images` is the encoder of pictures, `embed` that of texts, B of them to (B, E) in the same space."""

    def __init__(self, images: Extractor, embed: Callable[[Sequence[str]], Tensor]) -> None:
        self.images, self.embed, self.id = images, embed, images.id

    def __call__(self, images: Tensor) -> Tensor:
        return self.images(images)

    @torch.inference_mode()
    def texts(self, prompts: Sequence[str]) -> Features:
        """A row for each different prompt, in the order in which they come first."""
        different = list(dict.fromkeys(prompts))
        return Features.of(self.embed(different).float().cpu(), self.id, prompts=different)
