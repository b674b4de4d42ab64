"""Scenes per second: drawn and captioned, by one thread and by two, cold and warm; truths alone; peak memory.

    python benchmarks/scenes.py [--count 4000] [--size 128]

Cold is the first `count` scenes of a process, in which every emoji is decoded for the first time; warm are the
next. Wall time means something on an idle machine only; processor time on a busy one too.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from limner.data.scenes import Scenes


def rate(work: Callable[[int], object], start: int, count: int, threads: int) -> str:
    """Scenes per second over the indices from `start`, shared out among `threads`: of wall and of processor time."""
    began, worked = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, range(start, start + count)):
            pass
    wall, processor = time.perf_counter() - began, time.process_time() - worked
    return f"{count / wall:8.0f} /s {count / processor:8.0f} /s of processor time"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    scenes, count = Scenes(size=options.size), options.count
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"cold, one thread    {rate(scenes.__getitem__, 0, count, 1)}")
    print(f"warm, one thread    {rate(scenes.__getitem__, count, count, 1)}")
    print(f"warm, two threads   {rate(scenes.__getitem__, 2 * count, count, 2)}")
    print(f"truths, one thread  {rate(scenes.truth, 3 * count, count, 1)}")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"memory grown by     {grown / 1024:8.0f} MiB")


if __name__ == "__main__":
    main()
