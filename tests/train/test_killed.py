"""Real processes, killed and interrupted at random moments."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from limner.train import checkpoint
from limner.train.checkpoint import Contents
from tests.train.nursery import Nursery, errors, saves
from tests.train.runs import differences, last, train, wait_for
from tests.train.toys import recipe

KILLS = 24
LONG = {"images": 10**6, "validate_every": 10**6, "checkpoint_every": 0.03}


@pytest.fixture(scope="module")
def shared() -> Iterator[Nursery]:
    one = Nursery()
    yield one
    one.close()


@pytest.fixture
def nursery(shared: Nursery) -> Iterator[Nursery]:
    yield shared
    shared.reap()


def uninterrupted(folder: Path, images: int) -> Contents:
    """A run of the same recipe up to `images`."""
    settings = recipe(**{**LONG, "checkpoint_every": 1e6})
    settings = replace(settings, optimizer=replace(settings.optimizer, decay=0.0))
    train(folder, settings, until=images // 8)
    return last(folder)


def test_killed_again_and_again(nursery: Nursery, tmp_path: Path) -> None:
    """Each time the newest checkpoint is the last that was reported, or a newer one; in the end nothing is different.

    Saves come every 0.03 s and take about as long, so that many of the kills hit one.
    """
    folder, moments, reached = tmp_path / "run", random.Random(5), 0
    for number in range(KILLS):
        resumable = bool(checkpoint.existing(folder / "checkpoints"))
        process, before = nursery.start(folder, resume=resumable, train=LONG, pause=0.0), len(saves(folder))
        if number % 4 == 0:
            wait_for(lambda: len(saves(folder)) > before, "no save was made")  # noqa: B023
        time.sleep(moments.uniform(0.0, 0.3))
        os.kill(process, signal.SIGKILL)
        assert nursery.wait() == -signal.SIGKILL, errors(folder)
        if checkpoint.existing(folder / "checkpoints"):
            images = last(folder).state["images"]
            assert images >= max([reached, *saves(folder)])
            reached = images
    assert "SHA-256" not in errors(folder)
    nursery.start(folder, resume=True, train={**LONG, "images": reached + 80}, pause=0.0)
    assert nursery.wait() == 0, errors(folder)
    assert last(folder).state["images"] == reached + 80
    assert differences(last(folder), uninterrupted(tmp_path / "whole", reached + 80)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_well(nursery: Nursery, tmp_path: Path, number: int) -> None:
    folder = tmp_path / "run"
    process = nursery.start(folder, resume=False, train=LONG, pause=0.01)
    wait_for(lambda: len(saves(folder)) > 1, "no save was made")
    os.kill(process, number)
    assert nursery.wait() == 0
    images = last(folder).state["images"]
    assert images >= saves(folder)[-1]
    assert differences(last(folder), uninterrupted(tmp_path / "whole", images)) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_leaves_at_once(nursery: Nursery, tmp_path: Path, number: int) -> None:
    """The iteration takes a minute: the first signal waits for it, the second does not."""
    folder = tmp_path / "run"
    process = nursery.start(folder, resume=False, train={**LONG, "checkpoint_every": 0.0}, pause=60.0)
    wait_for(lambda: len(saves(folder)) == 1, "no save was made")
    began = time.monotonic()
    os.kill(process, number)
    time.sleep(0.3)
    os.kill(process, number)
    assert nursery.wait() == 128 + number
    assert time.monotonic() - began < 30
    assert last(folder).state["images"] == 8


def test_a_limit_of_the_kernel_on_the_size_of_files(nursery: Nursery, tmp_path: Path) -> None:
    """A real EFBIG from the second iteration on: each failure is said, the first checkpoints stay whole."""
    folder = tmp_path / "run"
    nursery.start(folder, resume=False, train={"checkpoint_every": 0.0}, pause=0.0, largest=6000)
    assert nursery.wait() == 2
    text = errors(folder)
    assert text.count("could not be saved (File too large)") == 9
    assert "limner: [Errno 27] File too large" in text
    assert "Traceback" not in text
    assert last(folder).state["images"] == 8
    assert sorted(one.name for one in (folder / "checkpoints").iterdir()) == ["images-000000000", "images-000000008"]
