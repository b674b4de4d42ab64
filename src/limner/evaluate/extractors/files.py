"""Networks from files that somebody gives: safetensors only, told by content, and nothing is ever downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from limner.core import InputError
from limner.store import weights
from limner.store.files import sha256

Tensors = Mapping[str, Tensor]


def tensors_of(path: Path) -> dict[str, Tensor]:
    """InputError unless the file is there, is sound safetensors, and is all finite."""
    if not path.exists():
        raise InputError(f"there is no file {path}; give the path of the extractor's weights (docs/metrics.md)")
    return weights.load(path)


def filled(network: nn.Module, tensors: Tensors, path: Path, name: str) -> str:
    """Put the tensors in, each one matched, and freeze the network; the file's SHA-256."""
    counters = "num_batches_tracked"  # that some files have and some lack, and no inference reads
    expected = {key: one for key, one in network.state_dict().items() if not key.endswith(counters)}
    found = {key: one for key, one in tensors.items() if not key.endswith(counters)}
    weights.check_match(f"{path} does not hold {name}", expected, found)
    network.load_state_dict({key: found[key].to(one.dtype) for key, one in expected.items()}, strict=False)
    network.eval().requires_grad_(False)
    return sha256(path)
