"""The Vendi score against that of its authors."""

from __future__ import annotations

import pytest
import torch

from limner.evaluate.bootstrap import Bootstrap
from limner.evaluate.features import ExtractorId, Features
from limner.evaluate.metrics import vendi

theirs = pytest.importorskip("vendi_score.vendi")


@pytest.mark.parametrize(("rows", "width"), [(40, 100), (200, 12)])
def test_vendi(rows, width):
    values = torch.randn(rows, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.5
    ours = vendi(Features.of(values, ExtractorId("given")), bootstrap=Bootstrap(resamples=2)).value
    assert ours == pytest.approx(theirs.score_dual(values.numpy()), rel=1e-10)
