"""Metrics, health and the log: what is counted is what happened, and no prompt or key is in any of it."""

from __future__ import annotations

import io
import json
import logging
import os
import time
from pathlib import Path

import httpx
import pytest

from limner.serve.seeing import logs
from tests.serve.conftest import Keyed
from tests.serving import GENERATIONS, Serving, request, serving

SECRET_PROMPT = "a prompt that nobody else writes, 4711"


def test_what_is_counted_is_what_happened(service: Serving) -> None:
    names = ("images_total", "denoise_steps_total", "request_duration_seconds_count", "queue_wait_seconds_count")
    before = [service.metric(f"t2i_{name}") for name in names]
    for seed in range(3):
        assert (
            httpx.post(service.url + GENERATIONS, json=request(seed, count=2, steps=5), timeout=60).status_code == 200
        )
    after = [service.metric(f"t2i_{name}") for name in names]
    pictures, steps, requests, waits = (b - a for a, b in zip(before, after, strict=True))
    assert (pictures, steps, waits) == (6, 30, 3)
    assert requests >= 3
    assert service.metric("t2i_batch_size_sum") == service.metric("t2i_denoise_steps_total")
    assert service.metric("t2i_requests_total", route=GENERATIONS, model="small", status="200") >= 3
    for stage in ("text", "denoise", "decode", "encode"):
        assert service.metric("t2i_stage_duration_seconds_count", stage=stage) >= 6, stage
    assert service.metric("t2i_ready") == service.metric("t2i_workers_ready", model="small") == 1
    assert service.metric("t2i_device_memory_bytes", kind="worker") > 50e6
    assert service.metric("t2i_model_load_seconds", model="small") > 0
    assert service.metric("t2i_requests_in_progress") == 0


def test_refusals_have_reasons(keyed: Keyed) -> None:
    before = keyed.server.metric("t2i_rejected_total", reason="auth")
    httpx.get(f"{keyed.server.url}/v1/models")
    assert keyed.server.metric("t2i_rejected_total", reason="auth") == before + 1
    before = keyed.server.metric("t2i_rejected_total", reason="origin")
    httpx.post(f"{keyed.server.url}/v1/models", headers={"Origin": "http://evil.example"})
    assert keyed.server.metric("t2i_rejected_total", reason="origin") == before + 1


def test_paths_that_are_no_routes_are_one_label(service: Serving) -> None:
    for number in range(20):
        service.get(f"/nothing/{number}")
    text = service.get("/metrics")[1]
    assert "/nothing" not in text
    assert 'route="other"' in text


def test_health(service: Serving) -> None:
    assert service.get("/healthz/live") == (200, '{"status":"alive"}')
    assert service.get("/healthz/ready") == (200, '{"status":"ready"}')


def test_the_log_is_json_without_prompts_and_keys(tmp_path: Path, model: str) -> None:
    for options, there in (([], False), (["--log-prompts"], True)):
        data = tmp_path / f"data{there}"
        with serving(data, [model], *options) as server:
            body = request(1) | {"prompt": SECRET_PROMPT}
            header = {"Authorization": "Bearer lim_" + "x" * 43}
            assert httpx.post(server.url + GENERATIONS, json=body, headers=header, timeout=60).status_code == 200
            httpx.post(server.url + GENERATIONS, json=body | {"size": "7x7"}, headers=header, timeout=60)
        lines = [json.loads(line) for line in Path(f"{data}.log").read_text().splitlines()]
        assert all(line.keys() >= {"time", "level", "from", "message"} for line in lines)
        requests = [line for line in lines if line["message"] == "request"]
        assert {"request", "route", "method", "status", "seconds", "job", "model"} <= requests[0].keys()
        text = Path(f"{data}.log").read_text()
        assert (SECRET_PROMPT in text) == there
        assert "x" * 43 not in text


def test_an_error_is_told_without_its_own_words() -> None:
    stream = io.StringIO()
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    try:
        logs.begin(prompts=False, stream=stream)
        try:
            raise KeyError(SECRET_PROMPT)
        except KeyError:
            logging.getLogger("limner.serve").exception("error %s", "0badc0de")
        logging.getLogger("limner.serve").error("a key: lim_%s", "y" * 43)
    finally:
        root.handlers[:], root.level = handlers, level
        logging.captureWarnings(False)
        logging.getLogger("limner.serve.prompts").disabled = False
    text = stream.getvalue()
    assert SECRET_PROMPT not in text
    assert "KeyError at test_seeing.py" in text
    assert "y" * 43 not in text


def test_it_is_ready_when_it_can_draw_and_not_before(tmp_path: Path, model: str) -> None:
    server = Serving(tmp_path / "data", [model])
    server.start()
    try:
        status, text = server.get("/healthz/ready")
        assert (status, text) in ((503, '{"status":"loading"}'), (200, '{"status":"ready"}'))
        server.ready()
        [worker] = server.workers()
        os.kill(worker, 9)
        began = time.monotonic()
        Serving._until(lambda: not server.answers("/healthz/ready"), 5.0)
        server.ready()
        assert time.monotonic() - began < 10.0  # a new one is there
        assert server.metric("t2i_worker_deaths_total", model="small") == 1
        (tmp_path / "data" / "ledger.sqlite").rename(tmp_path / "away")
        assert server.get("/healthz/ready")[0] == 503
        assert server.answers("/healthz/live")
        refused = httpx.post(server.url + GENERATIONS, json=request(1), timeout=30)
        assert refused.status_code == 503
        assert refused.headers["retry-after"].isdigit()
        (tmp_path / "away").rename(tmp_path / "data" / "ledger.sqlite")
        server.ready()
        assert httpx.post(server.url + GENERATIONS, json=request(1), timeout=30).status_code == 200
    finally:
        server.kill()


@pytest.mark.parametrize("path", ["/metrics", "/healthz/ready"])
def test_all_but_liveness_is_behind_the_key(keyed: Keyed, path: str) -> None:
    assert httpx.get(keyed.server.url + path).status_code == 401
    assert httpx.get(f"{keyed.server.url}/healthz/live").status_code == 200
