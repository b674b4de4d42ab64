"""Where our own kernels can be had, and bfloat16 at all; how far they are from what is expected."""

from __future__ import annotations

import shutil
from functools import partial

import pytest
import torch

from limner.engine import attention, can_compute, convolution, kernels, linear, norm

HAS = torch.cpu.get_capabilities()
MACHINES = [name for name, features in kernels.MACHINES.items() if all(map(HAS.get, features)) and shutil.which("gcc")]
BY_NUMBERS = {dtype: [one for one in kind.by if one in MACHINES] for dtype, kind in kernels.KINDS.items()}
with_kernel = pytest.mark.skipif(not MACHINES, reason="needs a processor with AVX2, and gcc")
with_bf16_kernel = pytest.mark.skipif(
    not BY_NUMBERS[torch.bfloat16], reason="needs a processor that multiplies bfloat16, and gcc"
)
with_bf16 = pytest.mark.skipif(
    not can_compute("bf16", torch.device("cpu")), reason="needs a processor with instructions for bfloat16"
)

NUMBERS = [
    pytest.param(dtype, marks=pytest.mark.skipif(not machines, reason=f"needs a processor with kernels for {dtype}"))
    for dtype, machines in BY_NUMBERS.items()
]
KERNELS = {
    f"{module.__name__.split('.')[-1]}{kind.ending}": (dtype, partial(module.kernel, dtype))
    for module in (attention, convolution, linear)
    for dtype, kind in kernels.KINDS.items()
} | {"norm": (torch.bfloat16, norm.kernel)}


FORGETTING = [module.kernel.cache_clear for module in (attention, convolution, linear, norm)]  # before any is replaced


def forget() -> None:
    for clear in FORGETTING:
        clear()


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative, of what is expected in float64."""
    return float((found.double() - expected).norm() / expected.norm())
