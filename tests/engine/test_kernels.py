"""Kernels are compiled once and kept; where one cannot be had or is wrong, there is none."""

from __future__ import annotations

import ctypes
import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from limner.engine import kernels
from tests.engine.kernel import BY_NUMBERS, KERNELS, MACHINES, forget, with_bf16_kernel, with_kernel

kinds = pytest.mark.parametrize("name", KERNELS)


def kernel(name: str) -> object:
    return KERNELS[name][1]()


@pytest.fixture(autouse=True)
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is kept from or for others."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget()
    yield
    forget()


def change(folder: Path, file: str, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a copy of the kernels, which is taken from now on."""
    for source in [*kernels.HERE.glob("*.c"), *kernels.HERE.glob("*.h")]:
        shutil.copy(source, folder)
    text = (folder / file).read_text()
    assert right in text
    (folder / file).write_text(text.replace(right, wrong))
    monkeypatch.setattr(kernels, "HERE", folder)


@with_kernel
@kinds
def test_it_is_made_once_and_kept(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not BY_NUMBERS[KERNELS[name][0]]:
        pytest.skip("needs a processor that it is for")
    racing = [threading.Thread(target=kernel, args=(name,)) for _ in range(3)]
    for one in racing:
        one.start()
    for one in racing:
        one.join()
    assert len(list((tmp_path / "cache" / "limner" / "compiled").glob(f"{name}-*.so"))) == 1
    forget()
    monkeypatch.setattr(kernels, "_call", lambda command: pytest.fail("it is compiled again"))
    assert kernel(name) is not None


@with_kernel
@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("attention.c", "int attend(", "in attend("), ("bfloat16.h", "_mm512_scalef_ps(power, x)", "power"),
        ("convolution.c", "int convolve(", "in convolve("),
        ("convolution.c", "add_ps(from[1], from[2])", "add_ps(from[1], from[1])"),
        ("norm.c", "int measure(", "in measure("), ("norm.c", "off, off, square", "off, off, off"),
        ("linear.c", "int linear(", "in linear("), ("linear.h", "number / 2 * SIXTEEN", "number / 4 * SIXTEEN"),
        ("square_lines.h", "each, far_pairs", "each, near_pairs"),
        ("attention_float32.c", "int attend(", "in attend("),
        ("float32.h", "part * part + part + 1", "part * part + 1"),
        ("convolution_float32.c", "int convolve(", "in convolve("),
        ("convolution_float32.c", "4 * x[0] - 5 * x[2]", "4 * x[0] - 4 * x[2]"),
        ("linear_float32.c", "int linear(", "in linear("),
        ("linear_float32.c", "tail * near - .14", "tail * near + .14"),
        ("square_pairs.h", "(__m512bh)each", "(__m512bh)pairs"), ("square_halves.h", "(__m512h)each", "(__m512h)pairs"),
    ],
)  # fmt: skip
def test_one_that_is_not_compiled_or_computes_something_else_is_left(
    file: str, right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change(tmp_path, file, right, wrong, monkeypatch)
    machine = kernels.HALVES if file == "square_halves.h" else kernels.NARROW if "float32" in file else kernels.PAIRS
    if machine not in MACHINES:
        pytest.skip(f"needs {machine}")
    monkeypatch.setattr(kernels, "MACHINES", {machine: kernels.MACHINES[machine]})
    name = {"float32.h": "attention_float32", "linear.h": "linear"}.get(file, file.removesuffix(".c"))
    name = "attention" if name.endswith(".h") else name
    with caplog.at_level(logging.INFO):
        assert kernel(name) is None
    assert f"{name} is not by {machine}: " in caplog.text


@with_bf16_kernel
def test_where_the_system_does_not_permit_tiles_vectors_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    change(tmp_path, "square_amx.h", "TILE_DATA = 18", "TILE_DATA = 99", monkeypatch)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(kernels.MACHINES["AMX"], True))
    with caplog.at_level(logging.INFO):
        assert kernel("attention") is not None
    assert "attention is not by AMX: the system does not let this process use it" in caplog.text


@with_kernel
def test_what_is_kept_is_made_again_where_a_header_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = kernels._built(kernels.HERE / "attention.c", kernels.VECTORS)
    change(tmp_path, "bfloat16.h", "*/", "*/ /* another */", monkeypatch)
    assert kernels._built(tmp_path / "attention.c", kernels.VECTORS) != first


@kinds
def test_without_a_compiler_or_such_a_processor_there_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert kernel(name) is None
    forget()
    monkeypatch.delenv("CC")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: pytest.fail("it is loaded"))
    assert kernel(name) is None


@with_kernel
def test_there_is_none_for_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(f"linear{kind.ending}" for kind in kernels.KINDS.values() if MACHINES[0] in kind.by)
    assert kernels.load(name, MACHINES[0]) is not None
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "another"})
    monkeypatch.setattr(kernels, "_built", lambda source, features: pytest.fail("it is compiled"))
    assert kernels.load(name, MACHINES[0]) is None
