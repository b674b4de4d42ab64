"""A CLIP, ready to say how well pictures show what their prompts say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from limner import families, store
from limner.core import InputError
from limner.families import clip_layouts
from limner.families.clip import CLIP, fitted
from limner.store.files import sha256

BATCH = 64


class Judge:
    """`name` and `hash` say which CLIP it is: its scores mean nothing beside another's.

    >>> judge = Judge.load(Path("runs/clip-scenes/model"))
    >>> judge.scores(pictures, ["a red apple"] * len(pictures))
    """

    def __init__(self, clip: CLIP, *, name: str = "", hash: str = "") -> None:
        self.clip, self.name, self.hash = clip.eval(), name, hash

    @staticmethod
    def load(path: Path, *, name: str = "") -> Judge:
        """A model folder of ours that holds a CLIP, or a CLIP as OpenAI, open_clip or transformers keep it."""
        if clip_layouts.holds_foreign(path):
            return Judge(clip_layouts.read_foreign(path), name=name, hash=sha256(clip_layouts.weights(path)))
        family = families.load(path)
        if not isinstance(family, CLIP):
            raise InputError(f"{path} holds a {families.name_of(family)}, which draws; a judge is a clip: name one")
        return Judge(family, name=name, hash=store.describe(path).hash)

    def embed_images(self, pictures: Iterable[Tensor]) -> Tensor:
        """Pictures (3, H, W) in [-1, 1], each of any size, to unit vectors (N, E)."""
        size, rest, rows = self.clip.config.image_size, iter(pictures), []
        while some := [fitted(picture[None], size) for picture in islice(rest, BATCH)]:
            rows.append(self.clip.embed_images(torch.cat(some)).cpu())
        return torch.cat(rows)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts to unit vectors (N, E)."""
        rows = [self.clip.embed_texts(texts[start : start + BATCH]).cpu() for start in range(0, len(texts), BATCH)]
        return torch.cat(rows)

    def scores(self, pictures: Sequence[Tensor], texts: Sequence[str]) -> list[float]:
        """The cosine of each picture and its own text, from -1 to 1; CLIPScore is 2.5 times what of it is above 0."""
        assert len(pictures) == len(texts), (len(pictures), len(texts))
        return (self.embed_images(pictures) * self.embed_texts(texts)).sum(dim=1).tolist()
