"""limner eval as a command: where the report goes, what it goes on with, and what is refused."""

from __future__ import annotations

import json

from limner.evaluate.suites import examine, scenes, tasks


def test_a_report_of_a_model(run, home, monkeypatch):
    few = {name: tasks.TASKS[name] for name in ("single", "background")}
    for module in (tasks, scenes):
        monkeypatch.setattr(module, "TASKS", few)
    monkeypatch.setattr("limner.evaluate.suites.accuracy.TASKS", few)
    monkeypatch.setattr(scenes, "SWEEPS", {})
    monkeypatch.setattr(examine.os, "cpu_count", lambda: 1)  # the painter is known to this process alone
    result = run("eval", "--n", 4, "--set", "steps=1")
    assert result.code == 0, result.err
    assert "evaluations/flow-scenes/report.html" in result.out
    assert "8 of 8 pictures" in result.err
    found = json.loads((home / "evaluations" / "flow-scenes" / "report.json").read_text())
    assert found["about"]["knobs"]["steps"] == 1
    assert "of which 8 are there already" in run("eval", "--n", 4, "--set", "steps=1").err
    other = run("eval", "--n", 4, "--set", "steps=2")
    assert other.code == 2
    assert "holds an examination with knobs" in other.err


def test_what_is_wrong_is_said_in_one_line(run, home):
    for words, said in (
        (("eval", "nothing"), 'there is no model "nothing"'),
        (("eval", "--set", "stepps=2"), 'unknown key "stepps" (did you mean "steps"?)'),
        (("eval", "--n", 3), "4"),
    ):
        result = run(*words)
        assert result.code == 2
        assert said in result.err
        assert result.err.count("\n") == 1
