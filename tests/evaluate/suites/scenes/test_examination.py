"""An examination from end to end with a painter of noise: drawn once, kept, gone on with, and reported."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from limner import families
from limner.core import InputError
from limner.evaluate.suites.scenes import answers, suite, tasks
from limner.evaluate.suites.scenes.ledger import About, Ledger
from tests.examinations import two_tasks
from tests.painter import painter

__all__ = ["painter", "two_tasks"]


@pytest.fixture
def model(tmp_path, painter):
    families.save(tmp_path / "noise" / "model", painter)
    return tmp_path / "noise"


@pytest.fixture
def short(two_tasks, monkeypatch):
    """Two tasks, and a sweep over them."""
    monkeypatch.setattr(suite, "SWEEPS", {"steps": (1, 2)})
    monkeypatch.setattr(suite, "SWEPT", ("single", "background"))


def test_two_do_not_write_into_one_examination(model, tmp_path, short):
    def another():
        suite.run(model, tmp_path / "out", count=4, processes=1, sweeping=False)

    with pytest.raises(InputError, match=r"out is in use by another examination \(process \d+\); wait for it"):
        suite.run(model, tmp_path / "out", count=4, processes=1, sweeping=False, advance=another)
    another()  # what was held is free


def test_everything_is_drawn_once_and_reported(model, tmp_path, short):
    folder, told, advanced = tmp_path / "out", [], []

    def examined():
        return suite.run(
            model, folder, count=8, processes=1, begin=lambda *counts: told.append(counts),
            advance=lambda: advanced.append(1),
        )  # fmt: skip

    ledger = examined()
    swept = 2 * len(suite.SWEPT) * 2
    assert told == [(0, 16 + swept)]
    assert len(advanced) == 16 + swept
    assert len(ledger.usual()) == 16
    suite.report(ledger).write(folder)
    found = json.loads((folder / "report.json").read_text())
    assert found["about"]["hash"] == ledger.about.hash
    assert [one["metric"] for one in found["accuracy"]["seen"]] == ["single, seen", "background, seen", "overall, seen"]
    assert {one["n"] for one in found["accuracy"]["unseen"]} == {4}
    assert found["accuracy"]["seen"][0]["value"] == 0.0
    assert found["accuracy"]["seen"][0]["interval95"][1] == pytest.approx(0.49, abs=0.01)  # Wilson's, of 0 of 4
    page = (folder / "report.html").read_text()
    for word in ("single thing", "The steps sweep", "Frechet distance", "pictures/"):
        assert word in page
    assert examined().outcomes == ledger.outcomes
    assert told[1] == (16 + swept, 16 + swept)


def test_an_examination_that_was_stopped_goes_on_and_ends_the_same(model, tmp_path, short):
    def stop():
        if len((tmp_path / "torn" / "outcomes.jsonl").read_text().splitlines()) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        suite.run(model, tmp_path / "torn", count=4, processes=1, sweeping=False, advance=stop)
    with (tmp_path / "torn" / "outcomes.jsonl").open("a") as lines:
        lines.write('{"task": "single", "spl')  # the process died while it wrote
    again = suite.run(model, tmp_path / "torn", count=4, processes=1, sweeping=False)
    whole = suite.run(model, tmp_path / "whole", count=4, processes=1, sweeping=False)
    assert again.outcomes == whole.outcomes
    assert Ledger.open(tmp_path / "torn", again.about).outcomes == whole.outcomes
    for one, other in zip(again.usual(), whole.usual(), strict=True):
        assert np.array_equal(again.picture(one), whole.picture(other))


def test_several_processes_draw_what_one_draws():
    asked = tasks.items("single", "seen", 10)
    knobs = {"steps": 2}
    alone, many = (
        sorted(answers.answers("flow-scenes", asked, knobs=knobs, processes=count), key=lambda one: one.item.seed)
        for count in (1, 2)
    )
    assert [one.item for one in many] == asked
    for one, other in zip(alone, many, strict=True):
        assert np.abs(one.pixels.astype(int) - other.pixels).max() <= 2
        assert one.settings.seed == other.settings.seed


def test_the_knobs_of_an_item_are_those_it_is_drawn_with(model):
    one, other = tasks.items("single", "seen", 2)
    other = tasks.Item(other.task, other.split, other.truth, other.seed, {"steps": 1})
    drawn = list(answers.answers(model, [one, other], knobs={"guidance": 2.0}, processes=1))
    assert [(each.settings.knobs["steps"], each.settings.knobs["guidance"]) for each in drawn] == [(3, 2.0), (1, 2.0)]


def about(**changes):
    usual = {"model": "m", "hash": "h", "family": "painter", "knobs": {}, "count": 4, "seed": 0}
    return About(**{**usual, **changes})


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    Ledger.open(tmp_path / "out", about())
    with pytest.raises(InputError, match=r"holds an examination with hash = 'h', not 'g'; choose another --out"):
        Ledger.open(tmp_path / "out", about(hash="g"))
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "mine" / "holiday.png")
    with pytest.raises(InputError, match="holds no examination"):
        Ledger.open(tmp_path / "mine", about())
    (tmp_path / "out" / "outcomes.jsonl").write_text("no json\n")
    with pytest.raises(InputError, match=r"outcomes.jsonl:1: this is no JSON"):
        Ledger.open(tmp_path / "out", about())
