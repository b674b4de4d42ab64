"""Sampling speed: `limner.drawing.draw` against the same network run plainly, and whether they draw the same.

    python benchmarks/sampling.py [--model NAME_OR_FOLDER] [--pictures 16] [--rounds 5]

Plainly: fp32, eager, one picture at a time, at each step one pass with the text and one without, the text read anew for
each pass. Rounds alternate in one process; a figure is the median of its rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import Tensor

from limner.core import Request, seeded
from limner.drawing import draw
from limner.families.flow import Flow
from limner.pipeline import Pipeline
from limner.process.guidance import guide
from limner.process.rectified import times
from limner.process.samplers import SOLVERS

PROMPTS = (
    "a stop sign is flying in blue skies",
    "a red apple",
    "three cats on a beach",
    "a blue star above a green heart",
)


@torch.no_grad()
def plain(family: Flow, request: Request) -> Tensor:
    knobs, config = request.knobs, family.config
    side = config.image_size // config.patch
    x = knobs.temperature * torch.randn((1, config.channels, side, side), generator=seeded(request.seed))
    grid, before, t_before = times(knobs.steps, shift=knobs.shift), torch.zeros_like(x), torch.tensor([torch.nan])
    for number in range(knobs.steps):
        t, t_next = grid[number : number + 1], grid[number + 1 : number + 2]
        cond = family.predict(x, t, family.remember([request.prompt]))
        uncond = family.predict(x, t, family.remember([request.negative_prompt]))
        acts = knobs.guidance_from <= float(t) <= knobs.guidance_until
        x0 = guide(cond, uncond, torch.tensor([knobs.guidance if acts else 1.0]))
        x = SOLVERS[knobs.solver](x, x0, before, t, t_next, t_before)
        before, t_before = x0, t
    return family.codec.decode(x)[0].clamp(-1, 1)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", default="flow-scenes")
    arguments.add_argument("--pictures", type=int, default=16)
    arguments.add_argument("--rounds", type=int, default=5)
    asked = arguments.parse_args()
    family = Pipeline.from_pretrained(asked.model).family
    assert isinstance(family, Flow)
    requests = [
        Request(prompt=PROMPTS[seed % len(PROMPTS)], seed=seed, knobs=family.Knobs()) for seed in range(asked.pictures)
    ]
    draw(family, requests)
    seconds: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(asked.rounds):
        started = time.perf_counter()
        ours = draw(family, requests)
        seconds["ours"].append(time.perf_counter() - started)
        started = time.perf_counter()
        plainly = [plain(family, request) for request in requests]
        seconds["plain"].append(time.perf_counter() - started)
    apart = [127.5 * (one - other).abs() for one, other in zip(ours, plainly, strict=True)]
    rates = {name: asked.pictures / statistics.median(found) for name, found in seconds.items()}
    print(
        json.dumps(
            {
                "images_per_second": rates,
                "ratio": rates["ours"] / rates["plain"],
                "mean_difference_of_255": max(float(one.mean()) for one in apart),
                "largest_difference_of_255": max(float(one.max()) for one in apart),
            }
        )
    )


if __name__ == "__main__":
    main()
