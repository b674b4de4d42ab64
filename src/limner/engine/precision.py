"""In which precision a model draws fastest on a device."""

from __future__ import annotations

from typing import Literal

import torch

from limner.core import check
from limner.engine.kernels import HALVES, load

Precision = Literal["auto", "fp32", "bf16", "fp16"]
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
NAMES = {dtype: name for name, dtype in PRECISIONS.items()}
ONEDNN_HAS = {"bf16": "_is_mkldnn_bf16_supported", "fp16": "_is_mkldnn_fp16_supported"}  # operators of torch that tell


def dtype_for(wanted: str, device: torch.device, *, kernels: bool = True) -> torch.dtype:
    """ "auto" is bf16 where the hardware multiplies it faster than float32, else that; with `kernels`, our own may do
    it. InputError for a name that is none."""
    check(
        wanted == "auto" or wanted in PRECISIONS,
        f'precision = "{wanted}" is not one of auto, {", ".join(PRECISIONS)}',
    )
    if wanted != "auto":
        return PRECISIONS[wanted]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.bfloat16 if device.type == "cpu" and draws_in_bf16(kernels=kernels) else torch.float32


def can_compute(wanted: str, device: torch.device) -> bool:
    """Whether a device computes in this one of PRECISIONS. oneDNN, by which a CPU does, refuses what the processor has
    no instructions for, and torch's own products of it then take hundreds of times as long as those of float32."""
    if device.type != "cpu" or wanted not in ONEDNN_HAS:
        return True
    return bool(getattr(torch.ops.mkldnn, ONEDNN_HAS[wanted])())


def check_can_compute(wanted: str, device: torch.device, *, key: str = "precision") -> None:
    """InputError where it cannot, or where this is no precision."""
    dtype_for(wanted, device)
    check(
        can_compute(wanted, device),
        f'{key} = "{wanted}" is not for this processor, which has no instructions for it; leave it at "auto"',
    )


def draws_in_bf16(*, kernels: bool) -> bool:
    """Whether this processor multiplies bf16 faster than float32: matrices of it, or pairs of numbers if it is AMD's.
    Intel's takes twice as long for those as for float32 (docs/LOG.md), but our own kernels know a way by halves."""
    features = torch.cpu.get_capabilities()
    pairs = features.get("avx512_bf16") and "AMD" in str(features.get("cpu_name"))
    return multiplies_bf16() or bool(pairs) or (kernels and load("linear", HALVES) is not None)


def multiplies_bf16() -> bool:
    """Whether it has units for matrices of it."""
    features = torch.cpu.get_capabilities()
    return bool(features.get("amx_bf16") or features.get("bf16"))
