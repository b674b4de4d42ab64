"""Whether a picture goes with its words, by embeddings of both in one space (CLIP's, or any other's)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from limner.core import InputError, check
from limner.evaluate.bootstrap import USUAL, Bootstrap
from limner.evaluate.features import Features, comparable
from limner.evaluate.score import Score, averaged, share

WEIGHT = 2.5  # of CLIPScore, which brings CLIP's cosines near to 0..1
TIED = 1e-12


def clip_score(images: Features, texts: Features, *, bootstrap: Bootstrap = USUAL) -> Score:
    """2.5 max(cosine, 0), on average (Hessel et al., 2021); 100 cosine, as others print it, is 40 times as much.

    `texts` has one row for each prompt of `images`, of the same extractor.
    """
    near = WEIGHT * cosines(images, texts).clamp_min(0)
    return averaged("CLIPScore", near, images, bootstrap=bootstrap, reference=len(texts))


def cosines(images: Features, texts: Features) -> Tensor:
    """(N,) float64: of each picture and its own prompt, which `texts` has a row of."""
    own = _rows_of(images, texts)
    return (F.normalize(images.double, dim=1) * F.normalize(texts.double, dim=1)[own]).sum(1)


def r_precision(
    images: Features, texts: Features, *, candidates: int = 100, seed: int = 0, bootstrap: Bootstrap = USUAL
) -> Score:
    """How often a picture's own prompt is nearest to it among `candidates` (Xu et al., 2018); chance is their inverse.

    The others are drawn for each prompt once, by `seed`, so that all models meet the same ones; k that are equally
    near are each right by 1/k. InputError for fewer prompts than candidates.
    """
    texts = texts[sorted(range(len(texts)), key=texts.prompts.__getitem__)]
    own = _rows_of(images, texts)
    check(candidates >= 2, f"candidates = {candidates}: there are 2 or more to choose from")
    check(
        len(texts) >= candidates,
        f"R-precision: {candidates} candidates want as many prompts, and there are {len(texts)}; give more, or fewer "
        "candidates",
    )
    among = _candidates(len(texts), candidates, seed)[own]  # (N, candidates), the own prompt first
    pictures, words = F.normalize(images.double, dim=1), F.normalize(texts.double, dim=1)
    near = torch.cat([torch.einsum("nd,nkd->nk", x, words[k]) for x, k in zip(pictures.split(256), among.split(256))])
    best = near >= near.amax(1, keepdim=True) - TIED
    right = best[:, 0].double() / best.sum(1)
    return share("R-precision", right, images, bootstrap=bootstrap, reference=len(texts))


def _rows_of(images: Features, texts: Features) -> Tensor:
    """The row of `texts` of each picture's prompt."""
    comparable("alignment", images, texts)
    place = {prompt: row for row, prompt in enumerate(texts.prompts)}
    check(len(place) == len(texts), "alignment: a prompt has two embeddings; give each once")
    if lost := sorted(set(images.prompts) - place.keys()):
        raise InputError(f"alignment: the prompt {lost[0]!r} has no embedding; embed every prompt of the pictures")
    return torch.tensor([place[prompt] for prompt in images.prompts])


def _candidates(prompts: int, candidates: int, seed: int) -> Tensor:
    """(prompts, candidates): each row's own number, then different others."""
    random = np.random.default_rng(seed)
    rows = np.empty((prompts, candidates), dtype=np.int64)
    for row in range(prompts):
        others = random.choice(prompts - 1, candidates - 1, replace=False)
        rows[row] = [row, *(others + (others >= row))]
    return torch.from_numpy(rows)
