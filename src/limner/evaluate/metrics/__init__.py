"""Features in, number out: each metric in float64, with its doubt. See docs/metrics.md."""

from __future__ import annotations

from limner.evaluate.metrics.alignment import clip_score, r_precision
from limner.evaluate.metrics.canaries import Regurgitation, regurgitation
from limner.evaluate.metrics.conditional import conditional_error
from limner.evaluate.metrics.diversity import pairwise_diversity, vendi, vendi_within
from limner.evaluate.metrics.frechet import frechet_distance
from limner.evaluate.metrics.inception_score import inception_score
from limner.evaluate.metrics.kernel import cmmd, kernel_inception_distance
from limner.evaluate.metrics.manifold import Manifold, manifold
from limner.evaluate.metrics.memorisation import authenticity, data_copying, nearest_ratio, nearest_training

__all__ = [
    "Manifold", "Regurgitation", "authenticity", "clip_score", "cmmd", "conditional_error", "data_copying",
    "frechet_distance", "inception_score", "kernel_inception_distance", "manifold", "nearest_ratio",
    "nearest_training", "pairwise_diversity", "r_precision", "regurgitation", "vendi", "vendi_within",
]  # fmt: skip
