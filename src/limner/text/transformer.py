"""A small transformer text encoder, trained jointly with the family that uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.core import TextFeatures, Tokenizer, check
from limner.nn.blocks import ParallelBlock
from limner.text.packing import Packing

ROUND = 16  # tokens: compiled code then meets few lengths of text


@dataclass(frozen=True, slots=True)
class TextConfig:
    width: int = 256
    depth: int = 2
    heads: int = 4
    hidden: int = 384  # of the SwiGLU in each block
    length: int = 40  # tokens; longer texts are cut

    def __post_init__(self) -> None:
        check(self.width % self.heads == 0, f"width = {self.width} does not divide into heads = {self.heads}")
        check(self.length >= 2, f"length = {self.length} leaves no room for text; set length = 48, say")


class TextTransformer(nn.Module):
    """A `core.TextEncoder`: texts to `TextFeatures` of (B, L, width), L the longest text's tokens."""

    def __init__(self, config: TextConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.length, self.tokenizer = config.length, tokenizer
        self.embed = nn.Embedding(tokenizer.size, config.width)
        self.place = nn.Parameter(torch.empty(config.length, config.width))
        self.blocks = nn.ModuleList(
            ParallelBlock(config.width, heads=config.heads, hidden=config.hidden) for _ in range(config.depth)
        )
        self.norm = nn.RMSNorm(config.width)
        self.initialise()

    def initialise(self) -> None:
        nn.init.normal_(self.embed.weight, std=0.3)
        nn.init.normal_(self.place, std=0.1)
        for block in self.blocks:
            assert isinstance(block, ParallelBlock)
            nn.init.zeros_(block.out.weight)

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and mask (B, L) on this module's device, L rounded up."""
        ids, mask = self.tokenizer.encode(texts, self.length)
        tail = min(-ids.shape[1] % ROUND, self.length - ids.shape[1])
        ids, mask = F.pad(ids, (0, tail)), F.pad(mask, (0, tail))
        return ids.to(self.place.device), mask.to(self.place.device)

    def forward(self, texts: Sequence[str]) -> TextFeatures:
        ids, mask = self.tokens(texts)
        return TextFeatures(self.encode(ids, mask), mask)

    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) ids to (B, L, W), zero where `mask` is False."""
        packing = Packing.of(mask, self.length)
        x = packing.laid(self.embed(ids[mask]) + self.place[mask.nonzero()[:, 1]])
        seen = packing.own()[:, None]
        for block in self.blocks:
            x = block(x, turn=None, memory=None, mask=seen)
        out = x.new_zeros((*mask.shape, x.shape[-1]))
        out[mask] = self.norm(packing.taken(x))
        return out
