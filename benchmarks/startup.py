"""The whole process of `limner draw` against `python -c "import torch"`: wall time and peak memory.

python benchmarks/startup.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=7)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        picture = str(Path(folder) / "stop.png")
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "limner draw": [sys.executable, "-m", "limner", "draw", "a stop sign", "-o", picture],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        memory: dict[str, float] = {}
        for _ in range(asked.rounds):
            for name, command in commands.items():
                wall, peak = _measure(command)
                seconds[name].append(wall)
                memory[name] = max(memory.get(name, 0.0), peak)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    ratio = medians["limner draw"] / medians["import torch"]
    print(json.dumps({"seconds": medians, "ratio": ratio, "peak_gib": memory}))


def _measure(command: list[str]) -> tuple[float, float]:
    """Seconds and the peak resident memory in GiB of one process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with status {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 2**20


if __name__ == "__main__":
    main()
