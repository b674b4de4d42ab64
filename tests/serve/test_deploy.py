"""What is in deploy/ can be read, and asks for nothing that the service has not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.serving import Serving, request

DEPLOY = Path(__file__).parents[2] / "deploy"
NAMES = re.compile(r"\bt2i_[a-z_]+")
SUFFIXES = ("_bucket", "_sum", "_count")


def documents(path: Path) -> list[Any]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one is not None]


@pytest.fixture(scope="module")
def metrics(service: Serving) -> set[str]:
    """The names of all that the service counts, whether there has been any yet or not."""
    found = set()
    for line in service.get("/metrics")[1].splitlines():
        if line.startswith("# TYPE t2i_"):
            _, _, name, kind = line.split()
            found |= {name} if kind != "histogram" else {name + suffix for suffix in SUFFIXES}
    return found


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: path.name)
def test_every_file_can_be_read(path: Path) -> None:
    assert documents(path)


def test_the_dashboard_asks_for_metrics_that_are_there(metrics: set[str]) -> None:
    board = json.loads((DEPLOY / "grafana/dashboards/limner.json").read_text())
    asked = {name for panel in board["panels"] for one in panel["targets"] for name in NAMES.findall(one["expr"])}
    assert len(asked) > 15
    assert asked - metrics == set()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_alerts_ask_for_metrics_that_are_there(metrics: set[str]) -> None:
    rules = [rule for group in documents(DEPLOY / "alerts.yml")[0]["groups"] for rule in group["rules"]]
    asked = {name for rule in rules for name in NAMES.findall(rule["expr"])}
    assert len(asked) > 8
    assert asked - metrics == set()


def test_promtool_finds_nothing_wrong() -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed")
    subprocess.run([program, "check", "rules", str(DEPLOY / "alerts.yml")], check=True, stdout=subprocess.DEVNULL)


def test_nothing_runs_as_root_or_writes_to_its_own_files() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert re.search(r"^USER 10001", text, re.MULTILINE)
    [compose] = documents(DEPLOY / "compose.yaml")
    assert compose["services"]["limner"]["read_only"] is True
    [deployment] = [one for one in documents(DEPLOY / "kubernetes/limner.yaml") if one["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_platform_waits_longer_than_the_service_takes_to_drain() -> None:
    [compose] = documents(DEPLOY / "compose.yaml")
    [deployment] = [one for one in documents(DEPLOY / "kubernetes/limner.yaml") if one["kind"] == "Deployment"]
    pod, composed = deployment["spec"]["template"]["spec"], compose["services"]["limner"]
    commands = {
        "compose": (composed["command"], int(composed["stop_grace_period"].removesuffix("s"))),
        "kubernetes": (pod["containers"][0]["args"], pod["terminationGracePeriodSeconds"]),
    }  # fmt: skip
    for command, given in commands.values():
        [grace] = [int(one.removeprefix("--grace=")) for one in command if one.startswith("--grace=")]
        assert grace + 10 < given


def test_no_metric_has_a_prompt_in_it(service: Serving) -> None:
    secret = "a prompt that nobody else writes"
    assert httpx.post(f"{service.url}/v1/images/generations", json=request(1) | {"prompt": secret}).status_code == 200
    assert secret not in service.get("/metrics")[1]


def test_keys_are_made_where_the_service_looks_for_them() -> None:
    """What is asked of `limner keys` takes the place of a command: the ledger has to be named apart from it."""
    [compose] = documents(DEPLOY / "compose.yaml")
    served, keys = compose["services"]["limner"], compose["services"]["limner-keys"]
    assert f"--ledger={keys['environment']['LEDGER']}" in served["command"]
    assert keys["entrypoint"][2].endswith('"$$@" --ledger "$$LEDGER"')
    [deployment] = [one for one in documents(DEPLOY / "kubernetes/limner.yaml") if one["kind"] == "Deployment"]
    [job] = documents(DEPLOY / "kubernetes/keys.yaml")
    makes, serves = (one["spec"]["template"]["spec"]["containers"][0] for one in (job, deployment))
    assert makes["env"][0] in serves["env"]
    assert "--ledger=$(LIMNER_LEDGER)" in makes["command"]
    assert "--ledger=$(LIMNER_LEDGER)" in serves["args"]
