"""Decoding speed: DALL-E's tokens drawn with a memory of keys and values, against the whole prefix run anew for each.

    python benchmarks/decoding.py [--sides 8 16] [--pictures 1 8] [--rounds 5] [--preset base]

Both draw the same pictures, together, with guidance, by the same network (fresh weights: the arithmetic does not depend
on them) and through the same autoencoder. Rounds alternate in one process after one to warm up; a figure is the median
of its rounds, in seconds of this process's time, since the machine may be shared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from limner.core import Request, seeded
from limner.drawing import draw
from limner.families.dalle import Dalle, Knobs
from limner.process.categorical import choose
from limner.process.guidance import guide
from limner.text.bpe import BPE

PROMPTS = ("a stop sign is flying in blue skies", "a red apple", "three cats on a beach", "a blue star above a heart")


@torch.no_grad()
def anew(family: Dalle, requests: Sequence[Request]) -> list[Tensor]:
    """Each token by the whole network over the text and all tokens before it."""
    model, count = family.transformer, len(requests)
    text = family.tokenize([one.prompt for one in requests] + [one.negative_prompt for one in requests])
    tokens = torch.zeros(count, 0, dtype=torch.int64)
    generators = [seeded(one.seed) for one in requests]
    settings = {
        name: torch.tensor([getattr(one.knobs, name) for one in requests]) for name in ("temperature", "top_k", "top_p")
    }
    scale = torch.tensor([one.knobs.guidance for one in requests])
    while tokens.shape[1] < family.config.side**2:
        logits = model.say_code(model(*text, tokens.repeat(2, 1))[:, -1])
        uniform = torch.cat([torch.rand(1, generator=one, dtype=torch.float64) for one in generators])
        chosen = choose(guide(logits[:count], logits[count:], scale), uniform, **settings)
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
    return list(family.paint(tokens))


def compare(family: Dalle, requests: Sequence[Request], *, rounds: int) -> dict[str, float]:
    ways: dict[str, Callable[[], list[Tensor]]] = {
        "memory": lambda: draw(family, requests, batch=len(requests)),
        "anew": lambda: anew(family, requests),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    pictures: dict[str, list[Tensor]] = {}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.process_time()
            pictures[name] = way()
            if number:
                seconds[name].append(time.process_time() - started)
    pairs = zip(pictures["memory"], pictures["anew"], strict=True)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    return {
        **{f"seconds_{name}": round(value, 3) for name, value in medians.items()},
        "ratio": round(medians["anew"] / medians["memory"], 1),
        "largest_difference_of_255": round(max(127.5 * (one - other).abs().max().item() for one, other in pairs), 4),
    }


def built(preset: str, side: int) -> Dalle:
    """A fresh family whose pictures are `side` tokens wide, with weights that make it prefer some tokens to others."""
    torch.manual_seed(0)
    config = Dalle.presets[preset]
    family = Dalle(replace(config, image_size=side * config.codec.factor), BPE.train(PROMPTS, 400)).eval()
    with torch.no_grad():
        for parameter in family.transformer.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return family


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--sides", type=int, nargs="+", default=[8, 16])
    arguments.add_argument("--pictures", type=int, nargs="+", default=[1, 8])
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--preset", default="base", choices=list(Dalle.presets))
    asked = arguments.parse_args()
    for side in asked.sides:
        family = built(asked.preset, side)
        for count in asked.pictures:
            requests = [Request(prompt=PROMPTS[seed % len(PROMPTS)], seed=seed, knobs=Knobs()) for seed in range(count)]
            found = compare(family, requests, rounds=asked.rounds)
            print(json.dumps({"tokens": side * side, "pictures": count, **found}), flush=True)


if __name__ == "__main__":
    main()
