"""The log is JSON line by line whatever happens, and nothing that happens to it stops a step."""

from __future__ import annotations

import errno
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from limner.train.logs import Logs


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(lines=tmp_path / "log.jsonl", tensorboard=tmp_path / "tensorboard")


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines() if line]


def test_lines_and_tensorboard_say_the_same(logs: Logs, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs.scalars(64, {"losses": {"flow": {"loss": 0.5}}, "speed": 3.0})
    logs.picture(64, np.zeros((4, 6, 3), dtype=np.uint8))
    logs.event(70, "resumed")
    logs.close()
    assert read(tmp_path) == [
        {"images": 64, "losses": {"flow": {"loss": 0.5}}, "speed": 3.0}, {"images": 70, "event": "resumed"},
    ]  # fmt: skip
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(one.step, one.value) for one in events.Scalars("losses/flow/loss")] == [(64, 0.5)]
    assert [(one.step, one.width, one.height) for one in events.Images("samples")] == [(64, 6, 4)]


def test_what_is_not_finite_is_still_json(logs: Logs, tmp_path: Path) -> None:
    logs.scalars(1, {"losses": {"a": math.nan, "b": math.inf}})
    logs.close()
    assert "NaN" not in (tmp_path / "log.jsonl").read_text()
    assert read(tmp_path) == [{"images": 1, "losses": {"a": "nan", "b": "inf"}}]


def test_half_a_line_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"images": 1}\n{"ima')
    logs = Logs(lines=tmp_path / "log.jsonl", tensorboard=tmp_path / "tensorboard")
    logs.event(2, "resumed")
    logs.event(3, "resumed")
    logs.close()
    assert (tmp_path / "log.jsonl").read_text().splitlines()[1] == '{"ima'
    assert [json.loads(line)["images"] for line in (tmp_path / "log.jsonl").read_text().splitlines()[2:]] == [2, 3]


def test_a_full_disk_is_said_once_and_gaps_are_all_that_remain(
    logs: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    logs.event(1, "one")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        logs.event(2, "two")
        logs.event(3, "three")
    logs.event(4, "four")
    logs.close()
    assert caplog.text.count("log.jsonl cannot be written (No space left on device)") == 1
    assert [line["images"] for line in read(tmp_path)] == [1, 4]


def test_tensorboard_that_fails_is_given_up(
    logs: Logs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter.add_scalar", full)
    logs.scalars(1, {"loss": 1.0})
    logs.scalars(2, {"loss": 1.0})
    logs.close()
    assert caplog.text.count("TensorBoard's log cannot be written") == 1
    assert [line["images"] for line in read(tmp_path)] == [1, 2]


def test_without_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    logs = Logs(lines=tmp_path / "log.jsonl", tensorboard=tmp_path / "tensorboard")
    logs.scalars(1, {"loss": 1.0})
    logs.close()
    assert 'pip install "limner[train]"' in caplog.text
    assert [line["images"] for line in read(tmp_path)] == [1]
