"""What the tests share."""

from __future__ import annotations

from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """A training that a test runs in this process sets its threads and arithmetic (`machine.prepare`)."""
    yield
    torch.set_num_threads(1)
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def tokenizer() -> BPE:
    return BPE.train(CAPTIONS * 5, 300)
