"""How near a set of pictures is to real ones, by every extractor that is at hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.evaluate.features import Extractor, Features, extract
from limner.evaluate.metrics import frechet_distance, kernel_inception_distance, manifold, vendi
from limner.evaluate.score import Score

SUBSET = 1000  # of KID, where there are as many pictures


def to_tensor(picture: Image.Image) -> Tensor:
    """(3, H, W) in [-1, 1]."""
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    return pixels.float().div_(127.5).sub_(1.0)


def seen_by(
    extractor: Extractor, pictures: Iterable[Image.Image], prompts: Sequence[str], seeds: Sequence[int] = ()
) -> Features:
    return extract(extractor, map(to_tensor, pictures), prompts=prompts, seeds=seeds)


def fidelity(generated: Features, real: Features) -> list[Score]:
    """Frechet distance, KID, precision, recall, density, coverage, and Vendi. InputError for 5 or fewer pictures."""
    near = manifold(generated, real)
    return [
        frechet_distance(generated, real),
        kernel_inception_distance(generated, real, subset_size=min(SUBSET, len(generated), len(real))),
        near.precision, near.recall, near.density, near.coverage,
        vendi(generated),
    ]  # fmt: skip
