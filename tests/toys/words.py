"""What the toys share. B batch, L text tokens, W text width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from limner.core import InputError, Request, Tokenizer

SIDE = 4  # of the coarse grid, and of a patch


class Words(nn.Module):
    """The mean of a text's token vectors, brought to unit size, (B, W)."""

    def __init__(self, width: int, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.embed = nn.Embedding(tokenizer.size, width)

    def forward(self, texts: Sequence[str]) -> Tensor:
        ids, mask = self.tokenizer.encode(texts, 32)
        share = mask / mask.sum(dim=1, keepdim=True)
        mean = torch.einsum("BLW,BL->BW", self.embed(ids), share)
        return F.rms_norm(mean, mean.shape[1:])


def refuse(request: Request, **unused: Any) -> None:
    for name, value in unused.items():
        if value is not None and value != "":
            raise InputError(f"this family has no use for {name}: leave it out")


def dropped(captions: Sequence[str], share: float, generator: Generator) -> list[str]:
    """Some captions replaced by the empty one, for guidance."""
    draws = torch.rand(len(captions), generator=generator).tolist()
    return [caption if draw >= share else "" for caption, draw in zip(captions, draws, strict=True)]
