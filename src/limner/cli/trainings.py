"""Trainings side by side: some at a time, each in a process that has its share of the cores."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from limner.cli.entries import Entry, Order
from limner.core import InputError
from limner.train import machine

PATIENCE = 1.0  # seconds between looks at the trainings


def train_all(entries: Sequence[Entry], order: Order, console: Console) -> None:
    waiting, running = list(entries), dict[str, tuple[Entry, subprocess.Popen[bytes]]]()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks = {one.name: bar.add_task(one.name, total=1.0, said="waiting") for one in entries}
        try:
            while waiting or running:
                while waiting and len(running) < order.jobs:
                    entry = waiting.pop(0)
                    running[entry.name] = (entry, _started(entry, order, console))
                time.sleep(PATIENCE)
                for one, process in list(running.values()):
                    line = _last_line(one.folder.log)
                    bar.update(
                        tasks[one.name], completed=line.get("fraction", 0.0), said=f"{line.get('images', 0):,} images"
                    )
                    if process.poll() is not None:
                        del running[one.name]
                        _check_ended_well(one, process.returncode, console)
        finally:
            for _, process in running.values():
                process.send_signal(signal.SIGINT)  # they save, and end
            for _, process in running.values():
                process.wait()


def _started(entry: Entry, order: Order, console: Console) -> subprocess.Popen[bytes]:
    assert entry.source is not None
    resume = entry.folder.holds_run()
    changes = [part for change in entry.changes for part in ("--set", change)]
    command = [sys.executable, "-m", "limner", "train", str(entry.source), "--out", str(entry.folder.path)]
    order.out.mkdir(parents=True, exist_ok=True)
    threads = {"OMP_NUM_THREADS": str(_threads(order))}
    console.print(f"{'Going on with' if resume else 'Training'} {entry.name}: {_output(entry)}")
    with _output(entry).open("ab") as output:
        return subprocess.Popen(
            [*command, *changes, *["--resume"] * resume], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, **threads}, preexec_fn=_die_with_parent, start_new_session=True,
        )  # fmt: skip


def _die_with_parent() -> None:
    """In the child: an interrupt, on which it saves and ends, when whoever compares is no more (Linux)."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def _output(entry: Entry) -> Path:
    return entry.folder.path.with_name(f"{entry.name}.log")


def _check_ended_well(entry: Entry, code: int, console: Console) -> None:
    if code or entry.done < 1.0:
        lines = _output(entry).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise InputError(
            f"{entry.name} ended with {code}: {lines[-1] if lines else 'nothing said'}; see {_output(entry)}"
        )
    console.print(f"{entry.name} is trained")


def _last_line(log: Path) -> dict[str, Any]:
    """Of log.jsonl; empty where there is none, or it is being written."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
            found: dict[str, Any] = json.loads(file.read().splitlines()[-1])
            return found
    except (OSError, ValueError, IndexError):
        return {}


def machine_of(order: Order) -> str:
    device = machine.device()
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    at_a_time = f", {order.jobs} trainings at a time" if order.jobs > 1 else ""
    return f"{_threads(order)} of {machine.cores()} CPU cores{at_a_time}"


def _threads(order: Order) -> int:
    """Of each training: what somebody set, or an even share."""
    return int(os.environ.get("OMP_NUM_THREADS") or max(1, machine.cores() // order.jobs))
