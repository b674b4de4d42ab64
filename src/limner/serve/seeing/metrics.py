"""The service in numbers, for Prometheus. No label has a prompt, a key or the id of anything."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

from limner.serve.orders import Job, State
from limner.serve.watching import Watch

SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600)
STAGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
REASONS = {
    "invalid_api_key": "auth", "forbidden": "origin", "rate_limit_exceeded": "rate", "quota_too_small": "rate",
    "queue_full": "queue_full", "shutting_down": "draining", "unavailable": "unavailable", "too_large": "size",
}  # fmt: skip


class Metrics(Watch):
    """In a registry of its own. What has no reason in REASONS was refused as invalid."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        ProcessCollector(registry=own)
        PlatformCollector(registry=own)
        self.requests = Counter(
            "t2i_requests", "Requests that were answered.", ["route", "model", "status"], registry=own
        )
        self.durations = Histogram(
            "t2i_request_duration_seconds", "From the first byte of a request to the last of its answer.", ["route"],
            buckets=SECONDS, registry=own,
        )  # fmt: skip
        self.in_progress = Gauge("t2i_requests_in_progress", "Requests that wait for their answer.", registry=own)
        self.waits = Histogram(
            "t2i_queue_wait_seconds", "From acceptance until the first picture is begun.", buckets=SECONDS, registry=own
        )
        self.stages = Histogram(
            "t2i_stage_duration_seconds", "Parts of the work; denoise is one step of all that take it together.",
            ["stage"], buckets=STAGES, registry=own,
        )  # fmt: skip
        self.images = Counter("t2i_images", "Pictures that were drawn and kept.", ["model"], registry=own)
        self.jobs = Counter("t2i_jobs", "Jobs that are over, by how they ended.", ["model", "state"], registry=own)
        self.cancelled = Counter("t2i_cancelled", "Jobs that nobody wanted any more.", ["reason"], registry=own)
        self.rejections = Counter("t2i_rejected", "Requests that were refused.", ["reason"], registry=own)

    def began(self, job: Job) -> None:
        self.waits.observe(max(0.0, time.time() - job.accepted))

    def drew(self, job: Job) -> None:
        self.images.labels(job.order.model).inc()

    def ended(self, job: Job, state: State) -> None:
        self.jobs.labels(job.order.model, str(state)).inc()
        if state in (State.CANCELLED, State.EXPIRED):
            self.cancelled.labels("deadline" if state is State.EXPIRED else "client").inc()

    def staged(self, stage: str, seconds: float) -> None:
        self.stages.labels(stage).observe(seconds)

    def rejected(self, code: str) -> None:
        self.rejections.labels(REASONS.get(code, "invalid")).inc()
