"""Draw docs/families/noise.png: noise that is as much as it should be, too little, too much, and of the wrong kind.

    python scripts/noise.py [--images 20000]

Four small denoisers learn the same pictures for as long, in pixels, each with its own noise. A row is one of them: a
picture at four times of the training, from early to the last, and what is drawn from nothing but noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from learning import learnt, sheet
from torch import Generator, Tensor

from limner.data.scenes.source import Scenes
from limner.evaluate.extractors.random_network import RandomNetwork
from limner.evaluate.features import extract
from limner.evaluate.metrics.frechet import frechet_distance
from limner.nn.unet import UNet, UNetConfig
from limner.process.diffusion import NoiseSchedule, ScheduleConfig
from limner.process.predictions import V
from limner.process.solvers import build

ROOT = Path(__file__).parents[1]
SIZE, SCALE, SHOWN, DRAWN, STEPS = 32, 2, 10, 256, 50
NETWORK = UNetConfig(
    channels_in=3, channels_out=3, widths=(32, 64, 96), blocks=1, depths=(0, 0, 1), heads=(2, 2, 2), context=8, groups=8
)
BATCH, RATE = 32, 2e-3
GRAINS = 0.1  # the share of numbers that salt and pepper hits
Draw = Callable[[tuple[int, ...], Generator], Tensor]


def gaussian(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def salt_and_pepper(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Few places, all three colours of each alike, far up or down: of variance 1, as Gaussian noise is."""
    place = (shape[0], 1, *shape[2:])
    hit = torch.rand(place, generator=generator) < GRAINS
    sign = torch.rand(place, generator=generator).round() * 2 - 1
    return (hit * sign / GRAINS**0.5).expand(shape).contiguous()


@dataclass(frozen=True)
class Noise:
    name: str
    schedule: ScheduleConfig
    draw: Draw = gaussian


ENOUGH = ScheduleConfig(zero_terminal_snr=True)
NOISES = (
    Noise("as it should be", ENOUGH),
    Noise("too little", ScheduleConfig(first=0.0001, last=0.002)),
    Noise("too much", ScheduleConfig(first=0.03, last=0.4)),
    Noise("salt and pepper", ENOUGH, salt_and_pepper),
)


def batches(images: int) -> Iterator[Tensor]:
    """(B, 3, h, w) in [-1, 1]."""
    scenes = Scenes(size=SIZE, mix={"shape": 1.0})
    for first in range(0, images, BATCH):
        yield torch.stack([scenes[first + k].image for k in range(BATCH)]).float() / 127.5 - 1


def unasked(batch: int) -> Tensor:
    """The text that the network reads: none."""
    return torch.zeros(batch, 1, NETWORK.context)


def trained(noise: Noise, images: int) -> UNet:
    torch.manual_seed(0)
    network, schedule, generator = UNet(NETWORK), NoiseSchedule(noise.schedule), Generator().manual_seed(0)

    def loss(x0: Tensor) -> Tensor:
        t = torch.randint(len(schedule), (len(x0),), generator=generator)
        eps = noise.draw(tuple(x0.shape), generator)
        alpha, sigma = schedule.factors(t, like=x0)
        output: Tensor = network(alpha * x0 + sigma * eps, t, unasked(len(x0)))
        return (output - V.target(x0, eps, alpha, sigma)).square().mean()

    return learnt(network, batches(images), loss, steps=-(-images // BATCH), rate=RATE)


@torch.no_grad()
def drawn(network: UNet, noise: Noise) -> Tensor:
    generator = Generator().manual_seed(1)
    solver = build("ddim", NoiseSchedule(noise.schedule), steps=STEPS, spacing="trailing", prediction="v_prediction")
    solver.begin(noise.draw((DRAWN, 3, SIZE, SIZE), generator))
    while not solver.done:
        t = torch.full((DRAWN,), float(solver.t))
        solver.take(network(solver.x, t, unasked(DRAWN)), generator)
    return solver.x.clamp(-1.0, 1.0)


def noised(x0: Tensor, noise: Noise) -> list[Tensor]:
    schedule = NoiseSchedule(noise.schedule)
    times = [len(schedule) * quarter // 4 - 1 for quarter in (1, 2, 3, 4)]
    return [schedule.level(t).mix(x0, noise.draw((1, *x0.shape), Generator().manual_seed(2))[0]) for t in times]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--images", type=int, default=20_000)
    arguments.add_argument("--output", type=Path, default=ROOT / "docs" / "families" / "noise.png")
    asked = arguments.parse_args()
    scenes = Scenes("seen", size=SIZE, mix={"shape": 1.0})
    real = torch.stack([scenes[k].image for k in range(DRAWN)]).float() / 127.5 - 1
    rows = []
    for noise in NOISES:
        pictures = drawn(trained(noise, asked.images), noise)
        kept = NoiseSchedule(noise.schedule).alphas_cumprod[-1]
        distance = frechet_distance(*(extract(RandomNetwork(), one) for one in (pictures, real)))
        print(f"{noise.name}: {kept:.2g} of the picture's variance at the end; distance {distance}", flush=True)
        rows.append((noise.name, [*noised(real[0], noise), *pictures[:SHOWN]]))
    sheet(rows, side=SIZE * SCALE, first=4).save(asked.output, optimize=True)


if __name__ == "__main__":
    main()
