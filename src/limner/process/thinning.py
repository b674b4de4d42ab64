"""Training on some of a picture's tokens: those kept stand for all of them, in the loss and in attention.

Most tokens of a picture say what others say already, so a step that computes a share of the tokens of more pictures
learns more in the same time (masked training: Zheng et al. 2023, MaskDiT). Here each place has its own odds of being
kept, and a kept token counts 1 / odds times (Horvitz and Thompson 1952): the loss keeps its expectation, and
a softmax over kept keys, with log(1 / odds) added to their scores, estimates the one over all keys. A network trained
so can therefore be run on whole pictures. Odds must not depend on the picture itself, or which tokens are
there would tell what is in it.

B batch, N tokens of a picture, K of them kept, C channels, h and w the grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True, slots=True)
class Kept:
    """`places` (B, K), the numbers of the kept tokens, and `odds` (B, K), how likely each was to be kept."""

    places: Tensor
    odds: Tensor

    def of(self, grid: Tensor) -> Tensor:
        """(B, C, h, w) to the kept places' (B, C, 1, K)."""
        places = self.places[:, None].expand(-1, grid.shape[1], -1)
        return grid.flatten(2).gather(2, places)[:, :, None]

    def weights(self, total: int) -> Tensor:
        """(B, 1, 1, K): with these, a mean over kept places is expected to be the mean over all `total` places."""
        return (self.places.shape[1] / total / self.odds)[:, None, None]


def centred(side: int) -> Tensor:
    """(side * side,): interest that falls to 0.36 in the corners, since what a picture is of stands in its middle."""
    line = 0.5 + 0.5 * torch.sin(math.pi * (torch.arange(side) + 0.5) / side)
    return (line[:, None] * line).flatten()


def keep(interest: Tensor, *, share: float, rows: int, generator: Generator) -> Kept:
    """`share` of the N places for each of `rows` pictures, drawn with odds in proportion to `interest` (N,) > 0.

    By systematic sampling (Madow 1949): one random start for each row, then even steps along the summed odds, so every
    row keeps the same number, and none twice.
    """
    count = max(1, round(share * len(interest)))
    odds = _at_most_one(interest.double() / interest.sum(), count)
    upto = odds.cumsum(dim=0)
    start = torch.rand((rows, 1), generator=generator, dtype=torch.float64).to(odds.device)
    marks = (start + torch.arange(count, device=odds.device)) * (upto[-1] / count)
    places = torch.searchsorted(upto, marks, right=True).clamp(max=len(odds) - 1)
    return Kept(places, odds[places].to(interest.dtype))


def _at_most_one(shares: Tensor, count: int) -> Tensor:
    """Odds that sum to `count`, in proportion to `shares` wherever that does not pass 1."""
    sure = torch.zeros_like(shares, dtype=torch.bool)
    while True:
        rest = shares.masked_fill(sure, 0.0)
        odds = torch.where(sure, 1.0, rest * (count - sure.sum()) / rest.sum().clamp(min=1e-300))
        if not (odds > 1.0).any():
            return odds
        sure = sure | (odds > 1.0)
