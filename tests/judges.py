"""A judge that needs no training: it says how red, green and blue a picture is, and a text by its colour's name."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from limner.core import Tokenizer
from limner.families.clip import CLIP, unit
from limner.judge import Judge

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}


class Colours(CLIP):
    """A CLIP whose space is the mean colour."""

    def embed_images(self, images: Tensor) -> Tensor:
        return unit(((images + 1) / 2).mean(dim=(2, 3)))

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        found = [[COLOURS[word] for word in text.split() if word in COLOURS] for text in texts]
        return unit(torch.tensor([rows[0] if rows else (1.0, 1.0, 1.0) for rows in found]))


@pytest.fixture
def colours(tokenizer: Tokenizer) -> Judge:
    return Judge(Colours(CLIP.presets["tiny"], tokenizer), name="colours", hash="c0105")
