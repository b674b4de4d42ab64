"""Training speed: the trainer against a plain loop of the same network, same batch, same data.

    python benchmarks/training.py [--rounds 3] [--seconds 30] [--batch 128]

The plain loop is fp32, eager, one AdamW over everything, the process's default allocator and threads, each batch made
when it is needed. Ours is what `limner train` does. Each round runs both, each in a process of its own, one
after the other; a figure is the median of its rounds and the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

RECIPE = Path(__file__).parents[1] / "recipes" / "flow-scenes.toml"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=30.0)
    arguments.add_argument("--batch", type=int, default=128)
    arguments.add_argument("--one", choices=("plain", "ours"))
    asked = arguments.parse_args()
    if asked.one:
        print(json.dumps((plain if asked.one == "plain" else ours)(asked.batch, asked.seconds)))
        return
    speeds: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(asked.rounds):
        for name, found in speeds.items():
            command = [sys.executable, __file__, "--one", name, "--seconds", str(asked.seconds)]
            command += ["--batch", str(asked.batch)]
            found.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1]))
            print(f"{name:>6}: {found[-1]:7.1f} images a second", flush=True)
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    print(json.dumps({**medians, "ratio": medians["ours"] / medians["plain"]}))


def parts(batch: int):
    from limner import families
    from limner.core import parse
    from limner.data import open_source
    from limner.text.bpe import BPE
    from limner.train.recipe import Recipe

    recipe = Recipe.read(RECIPE)
    recipe = replace(recipe, train=replace(recipe.train, batch=batch))
    kind = families.find(recipe.model.family)
    config = parse(kind.Config, recipe.model.config, "recipe") if recipe.model.config else kind.presets["base"]
    source = open_source("scenes", size=config.image_size, mix=recipe.data.mix)
    tokenizer = BPE.train((source.truth(index).caption for index in range(10_000)), recipe.text.vocabulary)
    return families.build(recipe.model.family, config, tokenizer), source, recipe


def plain(batch: int, seconds: float) -> float:
    import torch

    from limner.core import Batch

    family, source, _ = parts(batch)
    family.calibrate(Batch.of([source[index] for index in range(256)]))
    optimizer = torch.optim.AdamW(family.parameters(), lr=1e-4)
    generator = torch.Generator().manual_seed(0)

    def step(number: int) -> None:
        examples = [source[index] for index in range(number * batch, (number + 1) * batch)]
        optimizer.zero_grad()
        family.loss(Batch.of(examples), generator)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(family.parameters(), 1.0)
        optimizer.step()

    step(0)
    return _rate(step, batch, seconds)


def ours(batch: int, seconds: float) -> float:
    import tempfile

    from limner.train import loop, machine

    machine.prepare()
    family, source, recipe = parts(batch)
    with tempfile.TemporaryDirectory() as folder:
        run = loop.fit(family, source, source, recipe, Path(folder) / "run")
        for _ in range(3):  # compiles
            next(run)
        return _rate(lambda _: next(run), batch, seconds)


def _rate(step, batch: int, seconds: float) -> float:
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += 1
        step(count)
    return count * batch / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
