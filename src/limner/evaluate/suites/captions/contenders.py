"""What a model is held against: pictures that cost nothing, each for the same prompts as the model's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.core import check
from limner.data.people.formats.listing import Caption
from limner.evaluate.extractors import signed
from limner.evaluate.features import Extractor, ExtractorId, Features, extract_all
from limner.evaluate.suites.captions.nearest_captions import NearestCaptions
from limner.evaluate.suites.captions.real import Real
from limner.evaluate.suites.measures import OTHER, REAL

NEAREST = "nearest by caption"
MEAN = "mean of 8 nearest"
AVERAGED = 8
UNSAID = Caption("", "")

Views = Mapping[ExtractorId, Features]


def baselines(asked: Real, train: Real, extractors: Sequence[Extractor]) -> dict[str, Views]:
    """By name: the pictures of the captions `asked` for themselves, and what can be made of those to train on."""
    near = nearest_by_caption(asked.captions, train, min(AVERAGED, len(train)))
    means = extract_all(extractors, _means(train, near), prompts=asked.captions)
    return {
        REAL: asked.features,
        OTHER: _said(asked[another(asked.captions)].features, asked.captions),
        NEAREST: _said(train[near[:, 0].tolist()].features, asked.captions),
        MEAN: {one.extractor: one for one in means},
    }


def another(captions: Sequence[str]) -> list[int]:
    """For each caption the next place with a different one, going round. InputError where all are one and the same."""
    check(len(set(captions)) > 1, f"all {len(captions)} captions are {captions[0]!r}; two different ones are needed")
    count = len(captions)
    return [
        next(place % count for place in range(row + 1, row + count) if captions[place % count] != said)
        for row, said in enumerate(captions)
    ]


def nearest_by_caption(prompts: Sequence[str], train: Real, k: int) -> NDArray[np.int64]:
    """(len(prompts), k): different training pictures, nearest first; of several captions the nearest counts."""
    said = [(row, one.text) for row, item in enumerate(train.items) for one in item.captions or (UNSAID,)]
    owners = np.array([row for row, _ in said])
    index = NearestCaptions([text for _, text in said])
    most = int(np.bincount(owners).max())  # captions of one picture
    found = index.nearest(prompts, min(k * most, len(index)))
    return np.array([list(dict.fromkeys(owners[places].tolist()))[:k] for places in found])


def _means(train: Real, near: NDArray[np.int64]) -> Iterator[Tensor]:
    for rows in near:
        yield torch.stack([signed(train.picture(int(row))) for row in rows]).mean(0)


def _said(views: Views, prompts: Sequence[str]) -> Views:
    return {extractor: found.said(prompts) for extractor, found in views.items()}
