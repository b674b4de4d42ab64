"""The char-CNN-RNN of Reed, Akata, Lee and Schiele (2016): one vector for a text, read letter by letter.

Three convolutions over one-hot letters, each followed by a pooling, then a plain recurrent network over the few
steps that are left, whose states are averaged. The sizes are those for birds and flowers.

B batch, L letters, S steps, C channels, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from limner.core import check

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+-=<>()[]{} "
PLACES = {letter: place for place, letter in enumerate(ALPHABET)}  # the second of its two dashes counts, as in Reed's
KERNEL = 4
POOLS = ((3, 3), (3, 3), (3, 2))  # width and stride after each convolution


@dataclass(frozen=True, slots=True)
class CharConfig:
    channels: tuple[int, int, int] = (384, 512, 256)  # of the convolutions; the last is the recurrent network's, too
    width: int = 1024  # of the vector
    length: int = 201  # letters; longer texts are cut

    def __post_init__(self) -> None:
        check(min(*self.channels, self.width) > 0, f"channels = {self.channels} and width = {self.width}: 1 or more")
        check(_steps(self.length) > 0, f"length = {self.length} letters leave nothing after pooling; set 201, say")


def _steps(length: int) -> int:
    for width, stride in POOLS:
        length = (length - KERNEL + 1 - width) // stride + 1
    return length


class CharCNNRNN(nn.Module):
    """Texts to (B, W). A letter that is not of the alphabet is no letter: all its entries are zero."""

    def __init__(self, config: CharConfig) -> None:
        super().__init__()
        self.length = config.length
        before = (len(ALPHABET), *config.channels[:-1])
        self.convs = nn.ModuleList(map(_conv, before, config.channels))
        state = config.channels[-1]
        self.into, self.again = nn.Linear(state, state), nn.Linear(state, state)
        self.out = nn.Linear(state, config.width)

    def forward(self, texts: Sequence[str]) -> Tensor:
        x = self.letters(texts)
        for conv, (width, stride) in zip(self.convs, POOLS, strict=True):
            x = F.max_pool1d(F.relu(conv(x)), width, stride)
        out: Tensor = self.out(self._read(rearrange(x, "B C S -> S B C")))
        return out

    def letters(self, texts: Sequence[str]) -> Tensor:
        """(B, 70, L) one-hot, lower-cased."""
        page = torch.zeros(len(texts), len(ALPHABET), self.length)
        for row, text in enumerate(texts):
            for column, letter in enumerate(text[: self.length].lower()[: self.length]):
                if letter in PLACES:
                    page[row, PLACES[letter], column] = 1.0
        return page.to(self.out.weight.device)

    def _read(self, steps: Tensor) -> Tensor:
        """h_s = relu(U x_s + V h_{s-1}), without V in the first step; (S, B, C) to the mean over s, (B, C)."""
        told = self.into(steps)
        states = [F.relu(told[0])]
        for step in told[1:]:
            states.append(F.relu(step + self.again(states[-1])))
        return torch.stack(states).mean(dim=0)


def _conv(channels: int, after: int) -> nn.Conv1d:
    return nn.Conv1d(channels, after, KERNEL)
