"""What a Stable Diffusion is told of a text (Rombach et al. 2022; Podell et al. 2023): the states of CLIP's tokens.

One or two text towers read the same tokens; their states lie side by side, padding included. Of which block, whether
through the final norm, and what stands behind the end is a convention of each model, `SD1`, `SD2` and `SDXL`.

B texts, R rows (chunks of texts), L tokens of a row, D width of all towers, P width of the vector of a whole text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from limner.core import Tokenizer, check
from limner.nn.prenorm import Activation
from limner.nn.sinusoid import sinusoid
from limner.text.clip import ClipText, ClipTextConfig
from limner.text.ended import ended
from limner.text.prompts import Chunk, chunks, emphasise
from limner.text.recent import Recent

REMEMBERED = 32  # texts: in SDXL's width 20 MB


@dataclass(frozen=True, slots=True)
class TowerConfig:
    text: ClipTextConfig = field(default_factory=ClipTextConfig)
    activation: Activation = "gelu"
    pad: int = 0  # the id that fills rows up behind the end token
    layer: int = 1  # of whose block the states are, from the end: 1 is the last, 2 the last but one
    norm: bool = True  # whether they go through the final norm, which was trained behind the last block
    out: int = 0  # width of the projected vector of the whole text; 0 is none

    def __post_init__(self) -> None:
        check(self.pad >= 0, f"pad = {self.pad} is no token's id; set the end token's or 0")
        check(
            1 <= self.layer <= self.text.depth,
            f"layer = {self.layer} is none of depth = {self.text.depth}; 1 is the last",
        )
        check(self.out >= 0, f"out = {self.out} is no width; 0 is no vector of the whole text")


@dataclass(frozen=True, slots=True)
class ConditionerConfig:
    towers: tuple[TowerConfig, ...] = (TowerConfig(),)
    zeros: bool = False  # an empty negative prompt is zeros, and not what the towers say of it (SDXL)

    def __post_init__(self) -> None:
        check(len(self.towers) > 0, "towers = [] reads no text; one tower is usual")
        lengths = [tower.text.length for tower in self.towers]
        check(len(set(lengths)) == 1, f"the towers read rows of length = {lengths}; all must be alike")

    @property
    def length(self) -> int:
        """Tokens of a chunk, its start and end token included."""
        return self.towers[0].text.length

    @property
    def width(self) -> int:
        """D, the denoiser's `context`."""
        return sum(tower.text.width for tower in self.towers)

    @property
    def pooled(self) -> int:
        """P; 0 is no vector."""
        return sum(tower.out for tower in self.towers)

    @property
    def most_skip(self) -> int:
        """The largest `clip_skip` that leaves each tower a block."""
        return min(tower.text.depth - tower.layer + 1 for tower in self.towers)


CLIP_L = ClipTextConfig(width=768, depth=12, heads=12, hidden=3072, length=77)
OPEN_CLIP_H = ClipTextConfig(width=1024, depth=23, heads=16, hidden=4096, length=77)  # of 24: the last is not read
OPEN_CLIP_BIG_G = ClipTextConfig(width=1280, depth=32, heads=20, hidden=5120, length=77)
END = 49407  # in CLIP's vocabulary

SD1 = ConditionerConfig((TowerConfig(CLIP_L, "quick_gelu", pad=END),))
SD2 = ConditionerConfig((TowerConfig(OPEN_CLIP_H),))
SDXL = ConditionerConfig(
    (
        TowerConfig(CLIP_L, "quick_gelu", pad=END, layer=2, norm=False),
        TowerConfig(OPEN_CLIP_BIG_G, layer=2, norm=False, out=1280),
    ),
    zeros=True,
)


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Of B texts the `tokens` (B, k L, D), k chunks after one another, and the vector `pooled` (B, P) or None."""

    tokens: Tensor
    pooled: Tensor | None

    def __getitem__(self, rows: slice | Tensor | list[int]) -> Conditioning:
        return Conditioning(self.tokens[rows], None if self.pooled is None else self.pooled[rows])

    @staticmethod
    def stack(rows: Sequence[Conditioning]) -> Conditioning:
        """Texts of as many chunks each."""
        vectors = [row.pooled for row in rows if row.pooled is not None]
        return Conditioning(torch.cat([row.tokens for row in rows]), torch.cat(vectors) if vectors else None)

    def kept(self, mask: Tensor) -> Conditioning:
        """Zeros where `mask` (B,) is False."""
        mask = mask.to(self.tokens.device)[:, None]
        tokens = self.tokens.where(mask[..., None], 0.0)
        return Conditioning(tokens, None if self.pooled is None else self.pooled.where(mask, 0.0))


class Wanted(NamedTuple):
    """Of what the features are remembered."""

    prompt: str
    chunks: int
    clip_skip: int


class Conditioner(nn.Module):
    """Prompts to `Conditioning`. In drawing the latest are remembered, until weights change."""

    def __init__(self, config: ConditionerConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.config, self.tokenizer = config, ended(tokenizer)
        for number, one in enumerate(config.towers):
            check(
                one.pad < self.tokenizer.size,
                f"towers[{number}]: pad = {one.pad} is none of the tokenizer's {self.tokenizer.size} tokens; set 0",
            )
        self.towers = nn.ModuleList(
            ClipText(one.text, tokenizer, out=one.out, activation=one.activation) for one in config.towers
        )
        self._recent: Recent[Wanted, Conditioning] = Recent(REMEMBERED)

    # -- drawing -----------------------------------------------------------------------------------

    def forward(self, prompts: Sequence[str], *, clip_skip: int = 1) -> Conditioning:
        """Prompts with weights and of any length (text/prompts.py), all of as many chunks as the longest takes.

        `clip_skip` counts from 1, as users do: 1 skips nothing, 2 reads one block earlier than the model's convention.
        `pooled` is of the first chunk, without weights and clip_skip. InputError as `check` says.
        """
        cut = self._cut(prompts, clip_skip)
        count = max(map(len, cut.values()))

        def read(wanted: Sequence[Wanted]) -> list[Conditioning]:
            return self._read_chunks([cut[one.prompt] for one in wanted], count, clip_skip)

        keys = [Wanted(prompt, count, clip_skip) for prompt in prompts]
        if self.training or torch.is_grad_enabled():
            return Conditioning.stack(read(keys))
        found = self._recent.of(keys, read, weights=self.parameters())
        return Conditioning.stack([found[key] for key in keys])

    def check(self, prompts: Sequence[str], *, clip_skip: int = 1) -> None:
        """InputError where there are too many chunks or too few blocks."""
        self._cut(prompts, clip_skip)

    def _cut(self, prompts: Sequence[str], clip_skip: int) -> dict[str, list[Chunk]]:
        most = self.config.most_skip
        check(1 <= clip_skip <= most, f"clip_skip = {clip_skip} is not from 1 to {most}; 1 skips nothing")
        return {prompt: chunks(prompt, self.tokenizer, room=self.config.length - 2) for prompt in prompts}

    def guided(self, prompt: str, negative: str = "", *, clip_skip: int = 1) -> Conditioning:
        """Two rows for guidance, the prompt's and the negative one's."""
        both: Conditioning = self([prompt, negative], clip_skip=clip_skip)
        return both.kept(torch.tensor([True, bool(negative)])) if self.config.zeros else both

    def _read_chunks(self, prompts: Sequence[Sequence[Chunk]], count: int, clip_skip: int) -> list[Conditioning]:
        """One row for each prompt, filled up to `count` chunks by empty ones."""
        rows = [chunk for one in prompts for chunk in [*one, *[[]] * (count - len(one))]]
        read = self._read(*self._laid(rows), clip_skip)
        tokens = rearrange(read.tokens, "(B k) L D -> B (k L) D", k=count)
        joined = Conditioning(tokens, None if read.pooled is None else read.pooled[::count])
        return [Conditioning.stack([joined[row : row + 1]]) for row in range(len(prompts))]  # copies, not views of all

    def _laid(self, rows: Sequence[Chunk]) -> tuple[Tensor, Tensor, Tensor]:
        """Ids, mask and weights (R, L) of chunks, each between a start and an end token."""
        start, end = (self.tokenizer.start, 1.0), (self.tokenizer.end, 1.0)
        whole = [[start, *row, end] for row in rows]
        filled = [[*row, *[(0, 1.0)] * (self.config.length - len(row))] for row in whole]
        ids = torch.tensor([[one for one, _ in row] for row in filled])
        weights = torch.tensor([[weight for _, weight in row] for row in filled])
        lengths = torch.tensor([len(row) for row in whole])
        return ids, torch.arange(self.config.length) < lengths[:, None], weights

    # -- training ----------------------------------------------------------------------------------

    def captions(self, texts: Sequence[str]) -> Conditioning:
        """Captions as they are written, brackets and all, in one chunk each; longer ones are cut.

        Nothing is remembered. With `zeros` the empty caption is zeros, as the negative prompt will be.
        """
        ids, mask = self.tokenizer.encode(texts, self.config.length)
        tail = self.config.length - ids.shape[1]
        read = self._read(F.pad(ids, (0, tail)), F.pad(mask, (0, tail)), None, 1)
        return read.kept(torch.tensor([bool(text) for text in texts])) if self.config.zeros else read

    # -- the network -------------------------------------------------------------------------------

    def _read(self, ids: Tensor, mask: Tensor, weights: Tensor | None, clip_skip: int) -> Conditioning:
        """Rows (R, L) of ids where `mask` is True; each tower pads them its own way."""
        tokens, vectors = [], []
        for config, tower in self._pairs():
            device = tower.place.device
            padded = ids.where(mask, config.pad).to(device)
            states, vector = tower.states(padded, layer=config.layer + clip_skip - 1, norm=config.norm)
            tokens.append(states if weights is None else emphasise(states, weights.to(device)))
            vectors += [] if vector is None else [vector]
        return Conditioning(torch.cat(tokens, dim=-1), torch.cat(vectors, dim=-1) if vectors else None)

    def _pairs(self) -> Iterator[tuple[TowerConfig, ClipText]]:
        for config, tower in zip(self.config.towers, self.towers, strict=True):
            assert isinstance(tower, ClipText)
            yield config, tower


def embed_sizes(pooled: Tensor, sizes: Tensor, *, width: int = 256) -> Tensor:
    """SDXL's vector (B, P + 6 width): `pooled` (B, P) and six numbers of pixels (B, 6), each as a sinusoid.

    They are the original height and width, the crop's top and left, and the height and width that are wanted.
    """
    waves = rearrange(sinusoid(sizes.flatten(), width), "(B six) W -> B (six W)", six=6)
    return torch.cat([pooled, waves.to(pooled)], dim=-1)
