"""Settings of the machine: that freed memory is kept is measured; the choices are tried for machines not at hand."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limner.core import InputError
from limner.engine import precision
from limner.train import machine

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
FAULTS = """
import resource, torch
from limner.engine import keep_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first = faults()
assert keep_memory()
faults()
print(first, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_memory_is_used_again() -> None:
    """Ten times 32 MiB: by default each is mapped anew, 8,192 pages of 4 KiB at a time."""
    path = str(Path(machine.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}
    )
    before, after = map(int, done.stdout.split())
    assert after < 200
    assert before > 5 * after + 5000 or before < 200  # a kernel with huge pages everywhere has few in any case


def test_cores_are_physical_allowed_and_within_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(machine, "_quota", lambda: None)
    monkeypatch.setattr(machine, "_core", lambda number: ("0", str(number // 2)))
    assert machine.cores() == 2
    monkeypatch.setattr(machine, "_core", lambda number: (str(number % 2), str(number // 2)))
    assert machine.cores() == 4
    monkeypatch.setattr(machine, "_quota", lambda: 3)
    assert machine.cores() == 3


def test_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "multiplies_bf16", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert machine.precision("auto", CPU).name == "fp32"
    monkeypatch.setattr(precision, "can_compute", lambda wanted, device: True)
    assert machine.precision("bf16", CPU).name == "bf16"
    assert machine.precision("auto", CUDA).name == "bf16"
    assert machine.precision("fp32", CUDA).name == "fp32"
    monkeypatch.setattr(machine, "multiplies_bf16", lambda: True)
    assert machine.precision("auto", CPU).name == "bf16"


def test_a_precision_without_instructions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "can_compute", lambda wanted, device: wanted != "bf16")
    assert machine.precision("auto", CPU).name in ("fp32", "bf16")
    with pytest.raises(InputError, match=r'train\.precision = "bf16" is not for this processor'):
        machine.precision("bf16", CPU)


@pytest.mark.parametrize(
    ("has", "fast"), [({"amx_bf16": True, "avx512_bf16": True}, True), ({"avx512_bf16": True}, False), ({}, False)]
)
def test_bf16_is_for_matrix_units(monkeypatch: pytest.MonkeyPatch, has: dict[str, bool], fast: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert machine.precision("auto", CPU).name == ("bf16" if fast else "fp32")


def test_autocast_computes_in_bf16_and_leaves_the_weights() -> None:
    linear = torch.nn.Linear(2, 2)
    with machine.Precision(CPU, "bf16").autocast():
        assert linear(torch.ones(1, 2)).dtype == torch.bfloat16
    with machine.Precision(CPU, "fp32").autocast():
        assert linear(torch.ones(1, 2)).dtype == torch.float32
    assert linear.weight.dtype == torch.float32


def test_compiling_pays_on_a_gpu_or_with_a_compiler_and_enough_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/g++" if name == "g++" else None)
    assert machine.pays_to_compile("auto", CPU, long=True)
    assert not machine.pays_to_compile("auto", CPU, long=False)
    assert machine.pays_to_compile("on", CPU, long=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert not machine.pays_to_compile("auto", CPU, long=True)
    assert machine.pays_to_compile("auto", CUDA, long=False)
    assert not machine.pays_to_compile("off", CUDA, long=True)
