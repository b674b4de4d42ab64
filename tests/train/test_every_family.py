"""What the trainer promises holds for every family: resumed, killed or with a torn checkpoint, bit for bit the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limner import families
from limner.train import checkpoint
from limner.train.checkpoint import Contents
from limner.train.loop import Progress
from limner.train.recipe import Recipe
from tests.train.nursery import Nursery, errors, saves
from tests.train.nurslings import STAGED, born, food
from tests.train.runs import differences, last, train, wait_for
from tests.train.toys import recipe

ITERATIONS = 5


def counts(name: str, **train: Any) -> dict[str, Any]:
    """Of `ITERATIONS` iterations of 4 images, which look at nothing but at the end."""
    usual = {"images": 4 * ITERATIONS, "batch": 4, "accumulate": 1, "validate_every": 10**6, "samples_every": 10**6}
    return {**usual, "stages": STAGED.get(name, {}), **train}


def settings(name: str, **train: Any) -> Recipe:
    """A rate that does not end with the run, so that a longer one begins alike."""
    made = recipe(**counts(name, **train))
    return replace(made, optimizer=replace(made.optimizer, decay=0.0))


def trained(name: str, folder: Path, **options: Any) -> list[Progress]:
    """Its family's dropout and the like are drawn from the state that a run begins with, whatever came before."""
    family = born(name)
    made = settings(name, **options.pop("train", {}))
    return train(folder, made, family=family, source=food(family, "train"), validation=food(family, "seen"), **options)


@pytest.fixture(scope="module", params=families.TABLE)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def whole(name: str, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """The last checkpoint of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp(name)
    assert len(trained(name, folder)) == ITERATIONS
    return last(folder)


def test_resumed_from_anywhere(name: str, whole: Contents, tmp_path: Path) -> None:
    for until in (1, 3):
        folder = tmp_path / str(until)
        assert len(trained(name, folder, until=until)) == until
        trained(name, folder, resume=True)
        assert differences(whole, last(folder)) == []


def test_a_torn_checkpoint_costs_no_more_than_itself(name: str, whole: Contents, tmp_path: Path) -> None:
    trained(name, tmp_path, until=4, train={"checkpoint_every": 0.0, "keep": 3})
    newest = checkpoint.existing(tmp_path / "checkpoints")[-1]
    weights = newest / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    assert len(trained(name, tmp_path, resume=True)) == ITERATIONS - 3
    assert differences(whole, last(tmp_path)) == []


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    one = Nursery()
    yield one
    one.reap()
    one.close()


def test_killed_it_loses_what_came_after_its_last_checkpoint_and_no_more(
    name: str, whole: Contents, nursery: Nursery, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    order = {"train": counts(name, checkpoint_every=0.0), "pause": 0.05, "name": name}
    process = nursery.start(folder, resume=False, **order)
    wait_for(lambda: len(saves(folder)) >= 2, "no save was made")
    os.kill(process, signal.SIGKILL)
    assert nursery.wait() in (-signal.SIGKILL, 0), errors(folder)
    assert last(folder).state["images"] >= max(saves(folder))
    nursery.start(folder, resume=True, **order)
    assert nursery.wait() == 0, errors(folder)
    assert differences(whole, last(folder)) == []
