"""Measure the baselines of the suite `scenes` and put them into the package: src/limner/assets/baselines.json.

    python scripts/baselines.py --n 100

To be run again whenever the scorer, the tasks or the scenes change; a test tells.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context

import torch
from rich.progress import track

from limner.evaluate.suites.scenes.baselines import BASELINES, PACK, Training, answers
from limner.evaluate.suites.scenes.tasks import SPLITS, TASKS, items


@lru_cache(1)
def training() -> Training:
    torch.set_num_threads(1)
    return Training()


def measure(task: str, split: str, baseline: str, count: int) -> str:
    return answers(items(task, split, count), baseline, training())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--n", type=int, default=100, help="captions of each task and split")
    arguments.add_argument(
        "--task", nargs="*", default=list(TASKS), choices=list(TASKS), help="only these; keep the others"
    )
    asked = arguments.parse_args()
    jobs = [(task, split, baseline) for task in asked.task for split in SPLITS for baseline in BASELINES]
    found: dict[str, dict[str, dict[str, str]]] = {task: {split: {} for split in SPLITS} for task in TASKS}
    if len(asked.task) < len(TASKS):
        found |= json.loads(PACK.read_text(encoding="utf-8"))
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        running = [pool.submit(measure, *job, asked.n) for job in jobs]
        for (task, split, baseline), one in track(list(zip(jobs, running))):
            found[task][split][baseline] = one.result()
    PACK.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
