"""The peers that several tests ask, and how they are imported here."""

from __future__ import annotations

import sys
import types
import warnings
from typing import Any
from unittest.mock import MagicMock

import pytest


@pytest.fixture(scope="module")
def transformers() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def open_clip(transformers: Any) -> Any:
    """It wants torchvision for its transforms, which are not wanted here: anything may stand for them.

    transformers, which it imports too, would take that for the real one, and so comes before it; what is imported
    later does not meet it.
    """

    class Anything(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return MagicMock()

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stub = Anything("torchvision")
        for name in ("transforms", "transforms.functional", "ops", "ops.misc"):
            patch.setitem(sys.modules, f"torchvision.{name}", stub)
        stub.transforms = stub.functional = stub.ops = stub.misc = stub  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "torchvision", stub)
        return pytest.importorskip("open_clip")
