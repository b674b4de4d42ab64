"""What `limner monitor` does: read the ledger and the pictures that are kept, examine, report."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from limner.cli import drawing, serving
from limner.core import check
from limner.shelf import find_model, name_of

if TYPE_CHECKING:
    from limner.serve.orders import Job
    from limner.serve.seeing.drift.reference import Reference

UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}
MOST = 100_000  # jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed."""

    data: Path
    ledger: str | None
    model: str
    since: str
    out: Path | None
    scores: int
    drift: float
    failed: float
    refused: float
    seconds: float


def look(order: Order, *, say: Callable[[str], object]) -> bool:
    """Whether a limit is passed."""
    serving.needed("limner.serve.app")
    from limner.serve.seeing.drift.examination import Limits, examine
    from limner.serve.seeing.drift.reference import Reference, place, tokenizer_of
    from limner.serve.seeing.drift.reporting import line, report

    since = time.time() - seconds(order.since)
    limits = Limits(drift=order.drift, failed=order.failed, refused=order.refused, seconds=order.seconds)
    folder = find_model(order.model)
    jobs = _jobs(order, name_of(folder), since)
    reference = Reference.read(place(folder)) if place(folder).is_file() else None
    found = examine(
        name_of(folder), jobs, limits, reference=reference,
        tokenizer=None if reference is None else tokenizer_of(folder),
        scores=[] if reference is None else _scores(order, jobs, reference),
    )  # fmt: skip
    say(f"{found.model}: {len(jobs)} jobs in {order.since}")
    for one in found.findings:
        say(f"  {line(one)}")
    if reference is None:
        say(f"  no drift without a reference: limner monitor --model {order.model} --reference CAPTIONS.txt makes one")
    if order.out is not None:
        report(found, order.since).write(order.out)
        say(f"{order.out / 'report.html'}")
    return found.passed


def make(model: str, captions: Path) -> str:
    """The reference of a model; a line that says where it is."""
    serving.needed("limner.serve.app")
    from limner.serve.seeing.drift.reference import Reference, place, tokenizer_of

    folder = find_model(model)
    path = place(folder)
    Reference.of(drawing.prompts([], captions), tokenizer_of(folder)).write(path)
    return str(path)


def _jobs(order: Order, model: str, since: float) -> list[Job]:
    from limner.serve.ledger import History

    with closing(History.open(serving.existing(order.data, order.ledger))) as history:
        found = history.since(since, most=MOST)
    return [job for job in found if job.order.model == model]


def _scores(order: Order, jobs: list[Job], reference: Reference) -> list[float]:
    from limner.serve.pictures import Pictures
    from limner.serve.seeing.drift.pictures import Scorer, of_prompts_alone

    scorer = Scorer.of(reference) if order.scores else None
    if scorer is None:
        return []
    kept = Pictures(order.data / serving.PICTURES, 0, 0.0)
    return scorer.scores(of_prompts_alone(jobs), kept.get, most=order.scores)


def seconds(text: str) -> float:
    """Of 90m, 24h or 7d."""
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", text.strip().lower())
    check(found is not None, f'--since "{text}" is no time such as 90m, 24h or 7d')
    assert found
    return int(found[1]) * UNITS[found[2]]
