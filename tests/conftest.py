"""What the tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from limner import families
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


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: BPE) -> str:
    """The folder of a small flow that was never trained, for who cares about everything but the pictures."""
    folder = tmp_path_factory.mktemp("models") / "small"
    kind = families.find("flow")
    families.save(folder, kind(kind.presets["tiny"], tokenizer))
    return str(folder)
