"""What the tests of the evaluation share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Whatever a test draws without a generator of its own is the same each time."""
    torch.manual_seed(0)
