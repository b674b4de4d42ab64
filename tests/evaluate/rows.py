"""Features that the tests of metrics make up."""

from __future__ import annotations

import torch

from limner.evaluate.bootstrap import Bootstrap
from limner.evaluate.features import ExtractorId, Features

GIVEN = ExtractorId("given")
FEW = Bootstrap(resamples=4)


def features(values, prompts=None, extractor=GIVEN):
    return Features.of(torch.as_tensor(values, dtype=torch.float64), extractor, prompts=prompts)


def normal(rows, width, seed, *, scale=1.0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return features(torch.randn(rows, width, generator=generator, dtype=torch.float64) * scale + shift)


def whitened(rows, width, seed):
    """(rows, width) float64 with mean 0 and covariance 1 to the last digit."""
    values = normal(rows, width, seed).values
    values = values - values.mean(0)
    factor = torch.linalg.cholesky(values.T @ values / (rows - 1))
    return torch.linalg.solve_triangular(factor, values.T, upper=False).T
