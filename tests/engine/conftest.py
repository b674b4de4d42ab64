"""What tests of kernels stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def only_drawing() -> Iterator[None]:
    """Without gradients, and from the same numbers each time."""
    torch.manual_seed(0)
    with torch.no_grad():
        yield
