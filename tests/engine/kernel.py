"""Where our own kernels can be had, and bfloat16 at all; how far they are from what is expected."""

from __future__ import annotations

import shutil

import pytest
import torch

from limner.engine import attention, can_compute, convolution, kernels, linear, norm

HAS = torch.cpu.get_capabilities()
MACHINES = [name for name, features in kernels.MACHINES.items() if all(map(HAS.get, features)) and shutil.which("gcc")]
with_kernel = pytest.mark.skipif(not MACHINES, reason="needs a processor that multiplies bfloat16, and gcc")
with_bf16 = pytest.mark.skipif(
    not can_compute("bf16", torch.device("cpu")), reason="needs a processor with instructions for bfloat16"
)

KERNELS = {module.__name__.split(".")[-1]: module.kernel for module in (attention, convolution, linear, norm)}


def forget() -> None:
    for kernel in KERNELS.values():
        kernel.cache_clear()


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative, of what is expected in float64."""
    return float((found.double() - expected).norm() / expected.norm())
