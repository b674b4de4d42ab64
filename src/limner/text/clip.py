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
    """Texts to features (B, out). Short texts share a row (text/packing.py).

    With `out` = 0 there is no projection and there are no features, but the `states` of tokens alone.
    """

    def __init__(
        self, config: ClipTextConfig, tokenizer: Tokenizer, *, out: int, activation: Activation = "gelu"
    ) -> None:
        super().__init__()
        self.tokenizer, self.length = ended(tokenizer), config.length
        self.embed = nn.Embedding(self.tokenizer.size, config.width)
        self.place = nn.Parameter(torch.empty(config.length, config.width))
        self.blocks = PreNormStack(config, activation)
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, out, bias=False) if out else None
        nn.init.normal_(self.embed.weight, std=0.02)
        nn.init.normal_(self.place, std=0.01)
        if self.project is not None:
            nn.init.normal_(self.project.weight, std=config.width**-0.5)

    def forward(self, texts: Sequence[str]) -> Tensor:
        ids, _ = self.tokenizer.encode(texts, self.length)
        return self.pool(ids.to(self.place.device))

    def pool(self, ids: Tensor) -> Tensor:
        """Features (B, out) of ids (B, L), read at the first end token of each row.

        OpenAI and open_clip read at the largest id, which is the same wherever the end token is the largest;
        transformers reads here unless its config says eos_token_id = 2, by which it means OpenAI's rule.
        """
        assert self.project is not None
        ends = self._ends(ids)[:, None]
        mask = torch.arange(ids.shape[1], device=ids.device) <= ends  # nothing that counts sees what stands behind
        packing = Packing.of(mask, self.length)
        x = packing.laid(self.embed(ids[mask]) + self.place[mask.nonzero()[:, 1]])
        x = self.blocks(x, mask=packing.own().tril()[:, None])  # causal: texts lie in their rows from left to right
        last = mask.sum(dim=1).cumsum(dim=0) - 1
        features: Tensor = self.project(self.norm(packing.taken(x)[last]))
        return features

    def states(self, ids: Tensor, *, layer: int = 1, norm: bool = True) -> tuple[Tensor, Tensor | None]:
        """What each token of ids (B, L) has become, (B, L, W), padding included, and the features of `pool`.

        It is read behind the block that is number `layer` from the end, 1 being the last, and with `norm` goes
        through the final norm wherever it was read. A token sees itself and all before it. Without a projection there
        are no features, and no block is computed that nothing is read of.
        """
        assert 1 <= layer <= len(self.blocks), layer
        blocks, read = list(self.blocks), len(self.blocks) - layer + 1
        causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=ids.device).tril()
        x = self.embed(ids) + self.place[: ids.shape[1]]
        for block in blocks[:read]:
            x = block(x, mask=causal)
        tokens = self.norm(x) if norm else x
        if self.project is None:
            return tokens, None
        for block in blocks[read:]:
            x = block(x, mask=causal)
        rows = torch.arange(len(ids), device=ids.device)
        return tokens, self.project(self.norm(x[rows, self._ends(ids)]))

    def _ends(self, ids: Tensor) -> Tensor:
        """Where each row's first end token stands, (B,)."""
        return ids.eq(self.tokenizer.end).int().argmax(dim=1)
