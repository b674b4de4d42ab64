"""Inception Score (Salimans et al., 2016): exp of the mean divergence of each picture's classes from all pictures'."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from limner.core import check
from limner.evaluate.bootstrap import USUAL, Bootstrap
from limner.evaluate.features import Features, enough
from limner.evaluate.score import Score, mean, scored


def inception_score(logits: Features, *, splits: int = 10, seed: int = 2020, bootstrap: Bootstrap = USUAL) -> Score:
    """Of classes' logits (N, C), from 1 to C: the mean over `splits` parts of the rows, shuffled as by torch-fidelity.

    InputError for fewer pictures than parts. Sees no real picture, so that a score above theirs is no good sign.
    """
    check(splits >= 1, f"splits = {splits}: there is 1 part or more")
    enough("Inception Score", logits, splits, remedy="give more, or fewer splits")
    rows = logits.double
    shuffled = rows[np.random.RandomState(seed).permutation(len(rows))]
    edges = [part * len(rows) // splits for part in range(splits + 1)]
    parts = [_score(shuffled[low:high], torch.ones(1, high - low)) for low, high in pairwise(edges)]
    return scored(
        "Inception Score", lambda counts: _score(rows, counts), logits, bootstrap=bootstrap,
        value=float(torch.cat(parts).mean()),
    )  # fmt: skip


def _score(logits: Tensor, counts: Tensor) -> Tensor:
    """(B,): the mean divergence is the mean of p log p less that of the mean p."""
    log_p = logits.log_softmax(1)
    p, counts = log_p.exp(), counts.double()
    marginal = counts @ p / counts.sum(1, keepdim=True)
    return (mean(counts, (p * log_p).sum(1)) - torch.xlogy(marginal, marginal).sum(1)).exp()
