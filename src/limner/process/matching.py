"""Which pictures of a batch do not belong to a caption: the wrong pairs that a matching-aware loss is shown.

B captions, and the same B pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from limner.core import Batch


def strangers(batch: Batch) -> Tensor:
    """(B, B) bool: True where picture j is not caption i's. Its caption is another and so is its class, if it has one.

    Without classes a picture that i would describe well too may still count as a stranger.
    """
    apart = _differ(batch.captions)
    return apart & _differ(batch.labels) if batch.labels else apart


@dataclass(frozen=True, slots=True)
class Wrong:
    """For each caption the place of a picture that is not its own, (B,), and whether there is one, (B,) bool."""

    places: Tensor
    exists: Tensor

    def mean(self, losses: Tensor) -> Tensor:
        """Of `losses` (B,), over the captions that have a wrong picture; 0 where none has."""
        return torch.where(self.exists, losses, 0.0).sum() / self.exists.sum().clamp(min=1)


def wrong_pictures(batch: Batch, generator: Generator) -> Wrong:
    """A random stranger for each caption."""
    allowed = strangers(batch)
    draws = torch.rand(allowed.shape, generator=generator).masked_fill(~allowed, -1.0)
    device = batch.images.device
    return Wrong(draws.argmax(dim=1).to(device), allowed.any(dim=1).to(device))


def _differ(words: Sequence[str]) -> Tensor:
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    ids = torch.tensor([numbers[word] for word in words])
    return ids[:, None] != ids
