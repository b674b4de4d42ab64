"""What the tests share."""

from __future__ import annotations

import pytest
import torch

from limner.text.bpe import BPE

CAPTIONS = [
    "a red square on a white ground",
    "a blue square on a yellow ground",
    "a green circle on a black ground",
    "two small stars above a big moon in a night sky",
]


def pytest_configure(config: pytest.Config) -> None:
    """One thread: networks this small wait more for their threads than they work, the more so on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> BPE:
    return BPE.train(CAPTIONS * 5, 300)
