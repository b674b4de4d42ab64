"""What makes a machine fast without its user knowing: allocator, threads, precision, compilation."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from limner.engine.allocator import keep_memory
from limner.engine.precision import check_can_compute, multiplies_bf16

WORTH_COMPILING_IMAGES, WORTH_COMPILING_SECONDS = 20_000, 600  # fewer are over before the compiler pays


@dataclass(frozen=True, slots=True)
class Precision:
    """The weights stay in float32; with bf16 the loss is computed under autocast."""

    device: torch.device
    name: Literal["fp32", "bf16"]

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.name == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def prepare() -> None:
    """Settings of the whole process, to be made before the first large tensor. For programs, not for libraries."""
    keep_memory()
    torch.set_flush_denormal(True)
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cores())


def describe(on: Precision) -> str:
    """For the user: "2 cores, fp32", or the GPU's name."""
    if on.device.type == "cuda":
        return f"{torch.cuda.get_device_name(on.device)}, {on.name}"
    return f"{torch.get_num_threads()} threads, {on.name}"


def cores() -> int:
    """Physical cores that this process may use: two threads of one core share its arithmetic."""
    allowed = os.sched_getaffinity(0)
    found = {_core(number) for number in allowed}
    quota = _quota()
    return max(1, min(len(found), quota or len(found)))


def peak_memory() -> int:
    """Bytes that this process held at most so far: the GPU's where there is one."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_reserved()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(wanted: Literal["auto", "fp32", "bf16"], on: torch.device) -> Precision:
    """ "auto" is bf16 only where the hardware multiplies matrices of it. InputError where it has no instructions for
    what is wanted: a step would take hundreds of times as long as in float32."""
    if wanted != "auto":
        check_can_compute(wanted, on, key="train.precision")
        return Precision(on, wanted)
    fast = torch.cuda.is_bf16_supported() if on.type == "cuda" else multiplies_bf16()
    return Precision(on, "bf16" if fast else "fp32")


def pays_to_compile(wanted: Literal["auto", "on", "off"], on: torch.device, *, long: bool) -> bool:
    """Whether to compile for a run that is `long` enough or not."""
    if wanted != "auto":
        return wanted == "on"
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    return on.type == "cuda" or (compiler is not None and long)


def _core(number: int) -> tuple[str, str]:
    topology = Path(f"/sys/devices/system/cpu/cpu{number}/topology")
    try:
        return (topology / "physical_package_id").read_text(), (topology / "core_id").read_text()
    except OSError:
        return ("", str(number))


def _quota() -> int | None:
    """Whole CPUs that a container may use (cgroup v2)."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, int(quota) // int(period))
