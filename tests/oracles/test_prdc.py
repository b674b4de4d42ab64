"""Precision, recall, density and coverage against those of their authors."""

from __future__ import annotations

import pytest
import torch

from limner.evaluate.bootstrap import Bootstrap
from limner.evaluate.features import ExtractorId, Features
from limner.evaluate.metrics import manifold

prdc = pytest.importorskip("prdc")


@pytest.mark.parametrize(("n", "m", "width", "shift"), [(300, 250, 8, 0.0), (200, 320, 32, 0.4), (150, 150, 4, 1.5)])
def test_all_four(monkeypatch, n, m, width, shift):
    pairwise = prdc.prdc.sklearn.metrics.pairwise_distances
    monkeypatch.setattr(  # its eight workers cost more than they save
        prdc.prdc.sklearn.metrics, "pairwise_distances", lambda x, y, metric, n_jobs: pairwise(x, y, metric=metric)
    )
    generator = torch.Generator().manual_seed(n)
    drawn = torch.randn(n, width, generator=generator, dtype=torch.float64) + shift
    real = torch.randn(m, width, generator=generator, dtype=torch.float64)
    theirs = prdc.compute_prdc(real.numpy(), drawn.numpy(), nearest_k=5)
    one, two = (Features.of(rows, ExtractorId("given")) for rows in (drawn, real))
    ours = manifold(one, two, k=5, bootstrap=Bootstrap(resamples=2))
    assert {name: getattr(ours, name).value for name in theirs} == pytest.approx(theirs, rel=1e-12)
