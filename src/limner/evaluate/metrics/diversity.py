"""How different pictures are from one another, by the cosines of their features; no real picture is asked."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core import InputError
from limner.evaluate.bootstrap import USUAL, Bootstrap
from limner.evaluate.features import Features, enough
from limner.evaluate.score import Score, mean, scored


def vendi(generated: Features, *, bootstrap: Bootstrap = USUAL) -> Score:
    """The effective number of different pictures (Friedman and Dieng, 2023): from 1 to the smaller of N and D.

    The exponential of the entropy of the eigenvalues of K / N, with K the cosines. Grows with N.
    """
    enough("Vendi score", generated, 2)
    rows = F.normalize(generated.double, dim=1)
    return scored(
        "Vendi score", lambda counts: torch.stack([effective_number(rows, times) for times in counts]), generated,
        bootstrap=bootstrap,
    )  # fmt: skip


def vendi_within(generated: Features, *, bootstrap: Bootstrap = USUAL) -> Score:
    """The Vendi score of each prompt's own pictures, on average. InputError for a prompt with one picture."""
    return _of_prompts(
        "Vendi score within a prompt", generated, lambda rows: effective_number(rows, torch.ones(len(rows)).double()),
        bootstrap,
    )  # fmt: skip


def pairwise_diversity(generated: Features, *, bootstrap: Bootstrap = USUAL) -> Score:
    """1 - cosine over all pairs of pictures of a prompt, averaged over prompts. InputError as for `vendi_within`."""
    return _of_prompts("diversity within a prompt", generated, _apart, bootstrap)


def effective_number(rows: Tensor, counts: Tensor) -> Tensor:
    """Of rows (N, D) of length 1, each as often as `counts` (N,) says. K and its dual share their eigenvalues."""
    weighted = rows * (counts / counts.sum()).sqrt()[:, None]
    gram = weighted @ weighted.T if len(rows) < rows.shape[1] else weighted.T @ weighted
    shares = torch.linalg.eigvalsh(gram).clamp_min(0)
    return (-torch.xlogy(shares, shares).sum()).exp()


def _apart(rows: Tensor) -> Tensor:
    pairs = len(rows) * (len(rows) - 1)
    return 1 - (rows.sum(0).square().sum() - rows.square().sum()) / pairs


def _of_prompts(metric: str, generated: Features, of: Callable[[Tensor], Tensor], bootstrap: Bootstrap) -> Score:
    """Each prompt counts once, however many pictures it has."""
    rows, groups = F.normalize(generated.double, dim=1), generated.groups
    for prompt, group in groups.items():
        if len(group) < 2:
            raise InputError(f"{metric}: {prompt!r} has one picture only; draw 2 or more of each prompt")
    values = torch.stack([of(rows[group]) for group in groups.values()])
    first = [group[0] for group in groups.values()]
    return scored(metric, lambda counts: mean(counts[:, first], values), generated, bootstrap=bootstrap)
