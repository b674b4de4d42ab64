"""A bidirectional LSTM over the caption, trained jointly with the family that uses it (Mansimov et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from limner.core import TextFeatures, Tokenizer, check


@dataclass(frozen=True, slots=True)
class LSTMConfig:
    embedding: int = 256
    hidden: int = 128  # units in each direction
    length: int = 40  # tokens; longer texts are cut

    def __post_init__(self) -> None:
        check(self.embedding > 0, f"embedding = {self.embedding} must be above 0")
        check(self.hidden > 0, f"hidden = {self.hidden} must be above 0")
        check(self.length >= 2, f"length = {self.length} leaves no room for text; set length = 48, say")


class TextLSTM(nn.Module):
    """A `core.TextEncoder`: texts to `TextFeatures` of (B, L, 2 * hidden), L the longest text's tokens.

    At each token what was read of the text up to it and what was read from its end back to it, side by side. Packing
    lets the backward direction begin at each text's own last token, and not in its padding.
    """

    def __init__(self, config: LSTMConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.length, self.tokenizer = config.length, tokenizer
        self.embed = nn.Embedding(tokenizer.size, config.embedding)
        self.start = nn.Parameter(torch.zeros(2, 1, config.hidden))  # h of each direction before the first token
        self.lstm = nn.LSTM(config.embedding, config.hidden, bidirectional=True, batch_first=True)

    def forward(self, texts: Sequence[str]) -> TextFeatures:
        ids, mask = self.tokenizer.encode(texts, self.length)
        words = self.embed(ids.to(self.start.device))
        packed = pack_padded_sequence(words, mask.sum(dim=1), batch_first=True, enforce_sorted=False)
        start = self.start.expand(-1, len(texts), -1).contiguous()
        with torch.autocast(start.device.type, enabled=False):  # processors without bf16 units have no such LSTM
            states, _ = self.lstm(packed, (start, torch.zeros_like(start)))
        tokens, _ = pad_packed_sequence(states, batch_first=True)  # (B, L, 2 * hidden), zero where there is no text
        return TextFeatures(tokens, mask.to(tokens.device))
