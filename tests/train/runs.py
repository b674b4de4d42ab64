"""Running a toy to its end, to a stop, or on from one, and comparing what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from limner.core import Family
from limner.train import checkpoint
from limner.train.checkpoint import Contents
from limner.train.loop import Progress, fit
from limner.train.recipe import Recipe
from tests.train.toys import Noise, Plain


def train(
    folder: Path, recipe: Recipe, kind: type[Family] = Plain, *, until: int | None = None, **options: Any
) -> list[Progress]:
    """All reports of a run that is asked to stop after `until` iterations."""
    reports: list[Progress] = []
    family = options.pop("family", None) or kind(None, None)  # type: ignore[arg-type]
    source = options.pop("source", None) or Noise()
    with_stop = {"stop": lambda: len(reports) == until, **options}
    validation = with_stop.pop("validation", None) or Noise(1)
    run = fit(family, source, validation, recipe, folder, **with_stop)
    for report in run:
        reports.append(report)
    return reports


def last(folder: Path) -> Contents:
    return checkpoint.newest(folder / "checkpoints")[1]


def differences(one: Contents, other: Contents) -> list[str]:
    """The names of all that is not bit for bit the same. How long it took is the clock's affair."""
    keys = (one.state.keys() | other.state.keys()) - {"seconds"}
    found = [key for key in keys if one.state.get(key) != other.state.get(key)]
    for file in one.tensors.keys() | other.tensors.keys():
        mine, theirs = one.tensors[file], other.tensors[file]
        for name in mine.keys() | theirs.keys():
            if name not in mine or name not in theirs or not torch.equal(mine[name], theirs[name]):
                found.append(f"{file}: {name}")
    return found


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)
