"""Drift as metrics: said of enough prompts, unsaid of too few, and no end to the service's looking."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from limner.serve.catalogue import Catalogue
from limner.serve.ledger import Ledger
from limner.serve.orders import Order
from limner.serve.seeing.drift import watching
from limner.serve.seeing.drift.watching import Drift
from limner.serve.seeing.metrics import Metrics
from limner.shelf import DEFAULT
from tests.serve.seeing.drift.test_prompts import GERMAN, captions


@pytest.fixture
def clock() -> list[float]:
    return [time.time()]


@pytest.fixture
def ledger(tmp_path: Path, clock: list[float]) -> Iterator[Ledger]:
    with closing(Ledger.open(tmp_path / "ledger.sqlite", clock=lambda: clock[0])) as found:
        yield found


def ask(ledger: Ledger, prompts: list[str]) -> None:
    for prompt in prompts:
        ledger.accept(Order(model=DEFAULT, prompt=prompt, seed=0), key=None, deadline=time.time() + 60)


def watched(ledger: Ledger) -> tuple[Drift, Metrics]:
    service: Any = SimpleNamespace(ledger=ledger, catalogue=Catalogue.of([DEFAULT]))
    metrics = Metrics()
    return Drift(service, metrics), metrics


def said(metrics: Metrics, what: str, measure: str) -> float | None:
    return metrics.registry.get_sample_value(f"t2i_drift_{what}", {"model": DEFAULT, "measure": measure})


def test_what_is_foreign_is_far_and_what_is_not_is_near(ledger: Ledger) -> None:
    drift, metrics = watched(ledger)
    ask(ledger, captions(100, first=50_000))
    drift.look()
    near = said(metrics, "distance", "unknown"), said(metrics, "chance", "unknown")
    assert near[0] is not None
    assert near[1] is not None
    assert near[0] < near[1]
    ask(ledger, list(GERMAN) * 50)
    drift.look()
    assert (said(metrics, "distance", "unknown") or 0) > 0.5


def test_of_too_few_nothing_is_said_and_not_what_was_said_before(ledger: Ledger, clock: list[float]) -> None:
    drift, metrics = watched(ledger)
    clock[0] -= watching.WINDOW - 1.0
    ask(ledger, list(GERMAN) * 10)
    drift.look()
    assert said(metrics, "distance", "length") is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watching, "WINDOW", 60.0)
        drift.look()
    assert said(metrics, "distance", "length") is None
    assert said(metrics, "chance", "length") is None


def test_a_fault_does_not_end_it(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    monkeypatch.setattr(watching, "PERIOD", 0.01)
    drift, metrics = watched(ledger)
    ask(ledger, list(GERMAN) * 10)
    history, broken = ledger.history, SimpleNamespace(since=lambda when, most: 1 / 0)
    ledger.history = broken  # type: ignore[assignment]

    async def watch() -> None:
        looking = asyncio.create_task(drift.watch())
        await asyncio.sleep(0.1)
        ledger.history = history
        ends = time.monotonic() + 10
        while said(metrics, "distance", "length") is None:
            assert time.monotonic() < ends
            await asyncio.sleep(0.02)
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking

    asyncio.run(watch())
