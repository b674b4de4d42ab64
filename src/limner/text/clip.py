"""CLIP's text tower (Radford et al. 2021): a causal transformer whose last token stands for the whole text.

B batch, L tokens, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from limner.core import Tokenizer, check
from limner.nn.prenorm import Activation, PreNormConfig, PreNormStack
from limner.text.ended import ended
from limner.text.packing import Packing


@dataclass(frozen=True, slots=True)
class ClipTextConfig(PreNormConfig):
    length: int = 40  # tokens, the end token included; longer texts are cut

    def __post_init__(self) -> None:
        PreNormConfig.__post_init__(self)  # super() knows the class before it had slots
        check(self.length >= 3, f"length = {self.length} leaves no room for text; set length = 40, say")


class ClipText(nn.Module):
    """Texts to features (B, out). Short texts share a row (text/packing.py)."""

    def __init__(
        self, config: ClipTextConfig, tokenizer: Tokenizer, *, out: int, activation: Activation = "gelu"
    ) -> None:
        super().__init__()
        self.tokenizer, self.length = ended(tokenizer), config.length
        self.embed = nn.Embedding(self.tokenizer.size, config.width)
        self.place = nn.Parameter(torch.empty(config.length, config.width))
        self.blocks = PreNormStack(config, activation)
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, out, bias=False)
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.place, std=0.01)
        nn.init.normal_(self.project.weight, std=config.width**-0.5)

    def forward(self, texts: Sequence[str]) -> Tensor:
        ids, _ = self.tokenizer.encode(texts, self.length)
        return self.pool(ids.to(self.place.device))

    def pool(self, ids: Tensor) -> Tensor:
        """Features (B, out) of ids (B, L), read at the first end token of each row.

        OpenAI and open_clip read at the largest id, which is the same wherever the end token is the largest;
        transformers reads here unless its config says eos_token_id = 2, by which it means OpenAI's rule.
        """
        ends = ids.eq(self.tokenizer.end).int().argmax(dim=1, keepdim=True)
        mask = torch.arange(ids.shape[1], device=ids.device) <= ends  # nothing that counts sees what stands behind
        packing = Packing.of(mask, self.length)
        x = packing.laid(self.embed(ids[mask]) + self.place[mask.nonzero()[:, 1]])
        x = self.blocks(x, mask=packing.own().tril()[:, None])  # causal: texts lie in their rows from left to right
        last = mask.sum(dim=1).cumsum(dim=0) - 1
        features: Tensor = self.project(self.norm(packing.taken(x)[last]))
        return features
