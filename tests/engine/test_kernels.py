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
from tests.engine.kernel import with_kernel

from limner.engine import attention, convolution, kernels, linear, norm

KINDS = {module.__name__.split(".")[-1]: module.kernel for module in (attention, convolution, linear, norm)}
kinds = pytest.mark.parametrize("name", KINDS)


@pytest.fixture(autouse=True)
def anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is kept from or for others."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    forget()
    yield
    forget()


def forget() -> None:
    for kind in KINDS.values():
        kind.cache_clear()


@with_kernel
@kinds
def test_it_is_made_once_and_kept(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    racing = [threading.Thread(target=KINDS[name]) for _ in range(3)]
    for one in racing:
        one.start()
    for one in racing:
        one.join()
    assert len(list((tmp_path / "cache" / "limner" / "compiled").glob(f"{name}-*.so"))) == 1
    forget()
    monkeypatch.setattr(kernels, "_call", lambda command: pytest.fail("it is compiled again"))
    assert KINDS[name]() is not None


@with_kernel
@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("attention.c", "int attend(", "in attend("), ("amx.h", "_mm512_scalef_ps(power, x)", "power"),
        ("convolution.c", "int convolve(", "in convolve("),
        ("convolution.c", "add_ps(from[1], from[2])", "add_ps(from[1], from[1])"),
        ("norm.c", "int measure(", "in measure("), ("norm.c", "off, off, square", "off, off, off"),
        ("linear.c", "int linear(", "in linear("), ("linear.c", "number / 2 * SIDE", "number / 4 * SIDE"),
        ("amx.h", "int permitted(", "int allowed("), ("amx.h", "TILE_DATA = 18", "TILE_DATA = 99"),
    ],
)  # fmt: skip
def test_one_that_is_not_compiled_or_computes_something_else_is_left(
    file: str, right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for source in [*kernels.HERE.glob("*.c"), *kernels.HERE.glob("*.h")]:
        shutil.copy(source, tmp_path)
    text = (tmp_path / file).read_text()
    assert right in text
    (tmp_path / file).write_text(text.replace(right, wrong))
    monkeypatch.setattr(kernels, "HERE", tmp_path)
    name = "attention" if file == "amx.h" else file.removesuffix(".c")
    with caplog.at_level(logging.INFO):
        assert KINDS[name]() is None
    assert f"{name} is torch's" in caplog.text


@with_kernel
def test_what_is_kept_is_made_again_where_a_header_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for source in [*kernels.HERE.glob("*.c"), *kernels.HERE.glob("*.h")]:
        shutil.copy(source, tmp_path)
    monkeypatch.setattr(kernels, "HERE", tmp_path)
    first = kernels._built(tmp_path / "attention.c")
    (tmp_path / "amx.h").write_text((tmp_path / "amx.h").read_text() + "/* another */\n")
    assert kernels._built(tmp_path / "attention.c") != first


@kinds
def test_without_a_compiler_or_such_a_processor_there_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert KINDS[name]() is None
    forget()
    monkeypatch.delenv("CC")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: pytest.fail("it is loaded"))
    assert KINDS[name]() is None
