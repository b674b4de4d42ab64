"""The perceptual distance against the lpips package's, with its own heads over a VGG16 that has learnt nothing."""

from __future__ import annotations

import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from limner.codecs.perceptual import Perceptual, vgg16
from tests.oracles.comparing import error

WITHIN = 1e-5


@pytest.fixture(scope="module")
def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return vgg16()


@pytest.fixture(scope="module")
def theirs(network: torch.nn.Sequential) -> Any:
    """It takes its layers from torchvision, which is not wanted here: ours stand for them."""
    torchvision, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    models.vgg16 = lambda pretrained: types.SimpleNamespace(features=network)  # type: ignore[attr-defined]
    torchvision.models = models  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setitem(sys.modules, "torchvision", torchvision)
        patch.setitem(sys.modules, "torchvision.models", models)
        return pytest.importorskip("lpips").LPIPS(net="vgg", pnet_rand=True, verbose=False)


def test_distances_agree(theirs: Any, network: torch.nn.Sequential, tmp_path: Path) -> None:
    heads = {name: one for name, one in theirs.state_dict().items() if name.startswith("lin") and name[3] != "s"}
    assert len(heads) == 5
    save_file({f"features.{name}": one for name, one in network.state_dict().items()} | heads, tmp_path / "both")
    ours = Perceptual.load(tmp_path / "both")
    images, painted = (torch.rand(3, 3, 48, 64) * 2 - 1 for _ in range(2))
    with torch.no_grad():
        assert error(ours(images, painted), theirs(images, painted).flatten()) < WITHIN
