"""Examinations that are over soon."""

from __future__ import annotations

import pytest

from limner.evaluate import comparison
from limner.evaluate.suites.scenes import accuracy, suite, tasks


@pytest.fixture
def two_tasks(monkeypatch):
    """The suite of scenes asks two of its tasks, of which one is GenEval's."""
    few = {name: tasks.TASKS[name] for name in ("single", "background")}
    for module in (tasks, accuracy, suite, comparison):
        monkeypatch.setattr(module, "TASKS", few)
