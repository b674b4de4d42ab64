"""A model that was never trained, for who cares about everything but the pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner import families
from limner.text.bpe import BPE


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: BPE) -> str:
    """The folder of a flow of the smallest size."""
    folder: Path = tmp_path_factory.mktemp("models") / "small"
    kind = families.find("flow")
    families.save(folder, kind(kind.presets["tiny"], tokenizer))
    return str(folder)
