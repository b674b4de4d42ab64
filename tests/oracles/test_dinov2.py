"""DINOv2 against transformers', with the same random weights in both of the layouts that files have."""

from __future__ import annotations

import pytest
import torch

from limner.evaluate.extractors.dinov2 import DINOv2
from limner.store.weights import dump

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    config = transformers.Dinov2Config(hidden_size=128, num_hidden_layers=3, num_attention_heads=2, image_size=224)
    model = transformers.Dinov2Model(config).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name or "lambda" in name else 0.0, std=0.1)
    return model


def published(name):
    """As files on the hub call what version 5 has renamed."""
    for new, old in (("q", "attention.query"), ("k", "attention.key"), ("v", "attention.value"), ("o", "output.dense")):
        name = name.replace(f"attention.{new}_proj.", f"attention.{old}.")
    return name


@pytest.mark.parametrize("names", [str, published])
def test_dinov2(theirs, tmp_path, names):
    path = tmp_path / "dinov2.safetensors"
    path.write_bytes(dump({names(name): tensor for name, tensor in theirs.state_dict().items()}))
    ours = DINOv2.load(path)
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs(pixels).pooler_output
        found = ours.network(pixels)
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5
    assert ours.id.name == "DINOv2 3 x 128"
