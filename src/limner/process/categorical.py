"""Distributions over tokens, by their logits: relaxed so that gradients pass, compared, and drawn from.

B batch, V tokens to choose from.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor


def gumbel_softmax(logits: Tensor, temperature: float, generator: Generator, *, dim: int) -> Tensor:
    """A sample along `dim` as soft one-hot vectors (Jang et al. 2017; Maddison et al. 2017).

    The colder, the nearer it is to a true sample, and the noisier its gradient. The noise is drawn on the CPU.
    """
    exponential = torch.empty(logits.shape).exponential_(generator=generator)
    return ((logits - exponential.log().to(logits.device)) / temperature).softmax(dim)


def divergence_from_uniform(logits: Tensor, *, dim: int) -> Tensor:
    """KL(q || uniform) in nats along `dim`: ln V less the entropy of q."""
    log_q = logits.log_softmax(dim)
    return math.log(logits.shape[dim]) + (log_q.exp() * log_q).sum(dim)


def choose(logits: Tensor, uniform: Tensor, *, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """One token for each row of (B, V), by the row's own number in [0, 1) and its own settings, each (B,).

    Of the `top_k` likeliest tokens (0: of all) those stay that lie in the smallest set of probability
    `top_p` (Holtzman et al. 2020), the likeliest always. In float64: rounding elsewhere should not change a picture.
    """
    chances = (logits.double() / temperature[:, None]).softmax(dim=-1)
    if (top_k > 0).any() or (top_p < 1.0).any():
        chances = _likeliest(chances, top_k, top_p)
    upto = chances.cumsum(dim=-1)
    return torch.searchsorted(upto, uniform[:, None] * upto[:, -1:], right=True)[:, 0].clamp(max=logits.shape[-1] - 1)


def _likeliest(chances: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """`chances` (B, V) without those that the settings leave out."""
    ordered, places = chances.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(chances.shape[-1], device=chances.device)
    ordered = ordered.masked_fill((rank >= top_k[:, None]) & (top_k[:, None] > 0), 0.0)
    ordered = ordered / ordered.sum(dim=-1, keepdim=True)
    before = ordered.cumsum(dim=-1) - ordered
    ordered = ordered.masked_fill((before >= top_p[:, None]) & (rank > 0), 0.0)
    return torch.zeros_like(chances).scatter(-1, places, ordered)
