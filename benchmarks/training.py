"""Training speed: the trainer against a plain loop of the same network, same batch, same data.

    python benchmarks/training.py [--rounds 3] [--seconds 30] [--batch 256] [--kept 0.25]

The plain loop is fp32, eager, one AdamW over everything, every token of every picture, the process's default
allocator and threads, each batch made when it is needed. Ours is what `limner train` does with the recipe, which
computes a share of the tokens (process/thinning.py); with `--kept 1` it computes them all, and what is left is the
trainer's own part. Each round runs both, each in a process of its own, one after the other; a figure is the median of
its rounds and the ratio is of the medians. What a step over fewer tokens teaches is docs/LOG.md's question.
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
    arguments.add_argument("--batch", type=int, default=256)
    arguments.add_argument("--kept", type=float, help="share of the tokens in ours; the recipe's if not given")
    arguments.add_argument("--one", choices=("plain", "ours"))
    asked = arguments.parse_args()
    if asked.one == "plain":
        print(json.dumps(plain(asked.batch, asked.seconds)))
        return
    if asked.one == "ours":
        print(json.dumps(ours(asked.batch, asked.seconds, asked.kept)))
        return
    speeds: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(asked.rounds):
        for name, found in speeds.items():
            command = [sys.executable, __file__, "--one", name, "--seconds", str(asked.seconds)]
            command += ["--batch", str(asked.batch)]
            command += [] if asked.kept is None else ["--kept", str(asked.kept)]
            found.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1]))
            print(f"{name:>6}: {found[-1]:7.1f} images a second", flush=True)
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    print(json.dumps({**medians, "ratio": medians["ours"] / medians["plain"]}))


def parts(batch: int, kept: float | None):
    from limner import families
    from limner.data import open_source
    from limner.text.bpe import BPE
    from limner.train.recipe import Recipe, amend

    recipe = Recipe.read(RECIPE)
    recipe = replace(recipe, train=replace(recipe.train, batch=batch))
    kind = families.find(recipe.model.family)
    config = amend(kind.presets[recipe.model.preset], recipe.model.config, "recipe")
    config = config if kept is None else replace(config, kept=kept)
    source = open_source("scenes", size=config.image_size, mix=recipe.data.mix)
    tokenizer = BPE.train((source.truth(index).caption for index in range(10_000)), recipe.text.vocabulary)
    return families.build(recipe.model.family, config, tokenizer), source, recipe


def plain(batch: int, seconds: float) -> float:
    import torch

    from limner.core import Batch

    family, source, _ = parts(batch, kept=1.0)
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


def ours(batch: int, seconds: float, kept: float | None) -> float:
    import tempfile

    from limner.train import loop, machine

    machine.prepare()
    family, source, recipe = parts(batch, kept)
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
