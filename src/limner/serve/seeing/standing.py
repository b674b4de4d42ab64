"""Numbers that are looked up when Prometheus asks: how the studio stands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

import limner
from limner.serve.service import Service
from limner.serve.studio.standing import Standing

SIZES = (1, 2, 4, 8, 16, 32, 64)


class StandingCollector(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        found = self._service.standing
        yield GaugeMetricFamily("t2i_queue_depth", "Pictures that wait.", value=found.waiting)
        yield GaugeMetricFamily("t2i_drawing", "Pictures that a worker has.", value=found.drawing)
        yield GaugeMetricFamily(
            "t2i_ready", "1 while a picture would be begun at once.", value=float(self._service.ready)
        )
        yield GaugeMetricFamily("t2i_draining", "1 while it takes no more.", value=float(found.draining))
        yield CounterMetricFamily("t2i_denoise_steps", "Steps of pictures that were done.", value=found.steps)
        yield _batches(found.batches)
        yield from _workers(found)
        yield self._models()

    def _models(self) -> Metric:
        models = InfoMetricFamily("t2i_model", "The models that are served.", labels=["model"])
        for one in self._service.catalogue.values():
            about = {"hash": one.hash[:12], "family": one.family, "version": limner.__version__}
            models.add_metric([one.name], about)
        return models


def _batches(batches: Mapping[int, int]) -> Metric:
    """How many pictures took each step together."""
    buckets = [(str(float(size)), float(sum(n for one, n in batches.items() if one <= size))) for size in SIZES]
    whole = float(sum(batches.values()))
    total = float(sum(size * times for size, times in batches.items()))
    found = HistogramMetricFamily("t2i_batch_size", "Pictures that took a step together.")
    found.add_metric([], buckets=[*buckets, ("+Inf", whole)], sum_value=total)
    return found


def _workers(standing: Standing) -> Iterable[Metric]:
    memory = GaugeMetricFamily("t2i_device_memory_bytes", "What the processes hold.", labels=["kind", "model"])
    loading = GaugeMetricFamily("t2i_model_load_seconds", "What loading took.", labels=["model"])
    ready = GaugeMetricFamily("t2i_workers_ready", "Workers that can draw.", labels=["model"])
    deaths = CounterMetricFamily("t2i_worker_deaths", "Workers that died unbidden.", labels=["model"])
    memory.add_metric(["server", ""], _resident())
    for one in standing.workers:
        memory.add_metric(["worker", one.model], one.memory)
        ready.add_metric([one.model], float(one.ready))
        if one.ready:
            loading.add_metric([one.model], one.seconds)
    for model, falls in standing.falls.items():
        deaths.add_metric([model], falls)
    return memory, loading, ready, deaths


def _resident() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
