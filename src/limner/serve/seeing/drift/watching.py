"""Drift as metrics of a service that runs: now and then, beside its work, and never in its way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from prometheus_client import Gauge

from limner.core import InputError, Tokenizer
from limner.serve.catalogue import Catalogue, Model
from limner.serve.orders import Job
from limner.serve.seeing.drift.distributions import MEASURES
from limner.serve.seeing.drift.examination import Examined, Limits, examine
from limner.serve.seeing.drift.reference import Reference, place, tokenizer_of
from limner.serve.seeing.metrics import Metrics
from limner.serve.service import Service

PERIOD, WINDOW, MOST = 300.0, 86400.0, 2000  # seconds between two looks, seconds and jobs that are looked back
log = logging.getLogger(__name__)


class Drift:
    """Gauges for those models that have a reference beside them. CLIPScores are `limner monitor`'s alone: a CLIP would
    take memory and time from who draws."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service = service
        self._rulers = _rulers(service.catalogue)
        self._distance = Gauge(
            "t2i_drift_distance", "Jensen-Shannon distance of the prompts of a day to the training captions.",
            ["model", "measure"], registry=metrics.registry,
        )  # fmt: skip
        self._chance = Gauge(
            "t2i_drift_chance", "The distance beyond which chance alone takes one of a thousand such days.",
            ["model", "measure"], registry=metrics.registry,
        )  # fmt: skip

    async def watch(self) -> None:
        """Until it is cancelled."""
        while self._rulers:
            try:
                await asyncio.to_thread(self.look)
            except Exception:  # of the ledger, say: what only looks on ends for nothing
                log.exception("drift cannot be looked at now")
            await asyncio.sleep(PERIOD)

    def look(self) -> None:
        jobs = self._service.ledger.history.since(time.time() - WINDOW, most=MOST)
        for name, (reference, tokenizer) in self._rulers.items():
            self._note(examined(name, jobs, reference, tokenizer))

    def _note(self, found: Examined) -> None:
        """Of too few prompts nothing is said, and not what was said before."""
        drifts = {one.name: one for one in found.findings if one.chance is not None}
        for measure in MEASURES:
            one = drifts.get(measure.name)
            values = (None, None) if one is None else (one.value, one.chance)
            for gauge, value in zip((self._distance, self._chance), values, strict=True):
                if value is None:
                    gauge.remove(found.model, measure.name)
                else:
                    gauge.labels(found.model, measure.name).set(value)


def examined(name: str, jobs: list[Job], reference: Reference, tokenizer: Tokenizer) -> Examined:
    own = [job for job in jobs if job.order.model == name]
    return examine(name, own, Limits(), reference=reference, tokenizer=tokenizer)


def _rulers(catalogue: Catalogue) -> Mapping[str, tuple[Reference, Tokenizer]]:
    return {model.name: found for model in catalogue.values() if (found := _ruler(model)) is not None}


def _ruler(model: Model) -> tuple[Reference, Tokenizer] | None:
    path = place(model.folder)
    if not path.is_file():
        return None
    try:
        return Reference.read(path), tokenizer_of(model.folder)
    except InputError as error:
        log.warning("drift of %s is not looked at: %s", model.name, error)
        return None
