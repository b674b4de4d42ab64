"""Compilation by torch, kept between processes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from torch import nn

from limner.core import check

WORTH_COMPILING = 200  # calls on a GPU; fewer are over before the compiler has done


def compile_network(network: nn.Module, *, wanted: str, calls: int) -> bool:
    """Whether it will be, at its first call for each shape. On a CPU packed layers are faster (docs/LOG.md)."""
    check_wish(wanted)
    device = next(network.parameters()).device
    pays = device.type == "cuda" and calls >= WORTH_COMPILING
    if wanted == "off" or (wanted == "auto" and not pays):
        return False
    check(
        device.type == "cuda" or compiler() is not None,
        "compile = on needs a C++ compiler, and there is none; install g++, or take auto, which is faster on a CPU",
    )
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder()))
    network.compile(dynamic=False)
    return True


def check_wish(wanted: str) -> None:
    check(wanted in ("auto", "on", "off"), f'compile = "{wanted}" is not one of auto, on, off')


def compiler() -> str | None:
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


def folder() -> Path:
    """Where what is compiled is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limner" / "compiled"
