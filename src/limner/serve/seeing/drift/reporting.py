"""What people read of an examination, and what programs do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from limner.evaluate.report import Report, Section
from limner.serve.seeing.drift.distributions import MEASURES
from limner.serve.seeing.drift.examination import Examined, Finding
from limner.serve.seeing.drift.plots import bars

FARTHEST = 10  # prompts that are shown
COLUMNS = ("what", "of", "value", "limit", "by chance", "")


def report(found: Examined, since: str) -> Report:
    """Its tables and plots; and every number in `data`."""
    verdict = "A limit is passed." if found.passed else "No limit is passed."
    lead = f"{verdict} {len(found.jobs)} jobs since {since}."
    return Report(f"{found.model} of late", lead, list(_sections(found)), _data(found, since))


def line(one: Finding) -> str:
    """For a terminal."""
    if one.value is None:
        return f"{one.title}: {one.count} are too few to tell"
    sign = "PASSED" if one.passed else "ok"
    chance = "" if one.chance is None else f", by chance up to {one.chance:.3f}"
    return f"{one.title}: {one.value:.3f} (limit {one.limit:g}{chance}, of {one.count}) {sign}"


def _sections(found: Examined) -> Iterator[Section]:
    yield Section("Limits", columns=COLUMNS, rows=[_row(one) for one in found.findings])
    if found.reference is None:
        yield Section("Drift", "There is no reference to compare with: limner monitor --reference CAPTIONS makes one.")
        return
    for one in MEASURES:
        if one.name in found.counts and one.name in found.reference.counts:
            plot = bars(one, found.reference.counts[one.name], found.counts[one.name])
            yield Section(one.title.capitalize(), pictures={one.title: plot})
    yield _farthest(found)


def _row(one: Finding) -> list[str]:
    value = "too few to tell" if one.value is None else f"{one.value:.3f}"
    chance = "" if one.chance is None else f"{one.chance:.3f}"
    return [one.title, str(one.count), value, f"{one.limit:g}", chance, "passed" if one.passed else ""]


def _farthest(found: Examined) -> Section:
    assert found.reference is not None
    prompts = {job.order.prompt: one for one, job in zip(found.measured, found.jobs, strict=True)}  # each of them once
    farthest = sorted(prompts.items(), key=lambda pair: -pair[1].distance)[:FARTHEST]
    rows = [
        [prompt[:80], f"{one.distance:.2f}", f"{one.unknown:.0%}", found.reference.examples[one.nearest][:80]]
        for prompt, one in farthest
    ]
    return Section(
        "Prompts farthest from any caption",
        columns=("prompt", "distance", "unknown words", "nearest caption"),
        rows=rows,
    )


def _data(found: Examined, since: str) -> dict[str, Any]:
    findings = [
        {
            "name": one.name, "count": one.count, "value": one.value, "limit": one.limit, "chance": one.chance,
            "passed": one.passed,
        }
        for one in found.findings
    ]  # fmt: skip
    return {
        "model": found.model, "since": since, "jobs": len(found.jobs), "passed": found.passed, "findings": findings,
        "counts": {name: list(counts) for name, counts in found.counts.items()},
    }  # fmt: skip
