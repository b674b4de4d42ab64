"""What puts pictures and words into one space, a CLIP, as an extractor that reads both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from limner.evaluate.features import ExtractorId, Features


class Embedder(Protocol):
    """A CLIP of whatever origin; `hash` is the SHA-256 of its weights. Both methods give unit vectors (N, E)."""

    @property
    def name(self) -> str: ...

    @property
    def hash(self) -> str: ...

    def embed_images(self, pictures: Iterable[Tensor]) -> Tensor:
        """Pictures (3, H, W) in [-1, 1], each of any size."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Tensor: ...


class DualEncoder:
    """An `Extractor` with `texts` besides. `resize` is how the embedder brings pictures to its size."""

    def __init__(self, embedder: Embedder, *, resize: str = "antialiased bicubic") -> None:
        self.embedder = embedder
        self.id = ExtractorId(embedder.name or "CLIP", embedder.hash, resize)

    def __call__(self, images: Tensor) -> Tensor:
        return self.embedder.embed_images(images)

    @torch.inference_mode()
    def texts(self, prompts: Sequence[str]) -> Features:
        """A row for each different prompt, in the order in which they come first."""
        different = list(dict.fromkeys(prompts))
        return Features.of(self.embedder.embed_texts(different).float().cpu(), self.id, prompts=different)
