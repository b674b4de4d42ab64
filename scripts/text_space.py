"""Draw docs/families/text_space.png: the same denoiser reading a text encoder that learnt by contrast, and others.

    python scripts/text_space.py [--images 80000]

First is printed what a linear reader finds in the last token's state of a text encoder that learnt to tell captions by
their pictures, and of the same encoder as it was initialised. Then three small denoisers learn the same pictures of
single shapes for as long, in pixels, with the same captions, and read the one, the other, and nothing. A row is one of
them; a column is a caption that none has seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from learning import learnt, sheet
from torch import Generator, Tensor

from limner.codecs.vae import VAEConfig
from limner.core import Batch
from limner.data.scenes.source import Scenes
from limner.data.scenes.truth import Truth
from limner.engine import dtype_for, keep_memory
from limner.evaluate.scorer.reader import score
from limner.evaluate.scorer.reading import Reading
from limner.families.stable_diffusion import Config, LearningConfig, StableDiffusion
from limner.nn.prenorm import PreNormConfig
from limner.nn.unet import UNet, UNetConfig
from limner.process.diffusion import NoiseSchedule, ScheduleConfig
from limner.process.guidance import guide
from limner.process.predictions import V
from limner.process.solvers import build
from limner.text.bpe import BPE
from limner.text.clip import ClipTextConfig
from limner.text.conditioning import Conditioner, ConditionerConfig, TowerConfig

ROOT = Path(__file__).parents[1]
FOLD = 4  # pixels a side that the denoisers see as one place
SIZE, SCALE, SHOWN, DRAWN, STEPS, GUIDANCE = 32, 2, 10, 300, 25, 3.0
CONFIG = Config(
    image_size=SIZE,
    unet=UNetConfig(
        channels_in=3 * FOLD**2, channels_out=3 * FOLD**2, widths=(96, 160), blocks=1, depths=(1, 1), heads=(4, 4),
        context=64, linear=True, groups=8,
    ),
    vae=VAEConfig(channels=3 * FOLD**2, widths=(16, 16), blocks=1, groups=8, scale="measured"),
    text=ConditionerConfig((TowerConfig(ClipTextConfig(width=64, depth=3, heads=4, hidden=256, length=32)),)),
    schedule=ScheduleConfig(zero_terminal_snr=True),
    prediction="v_prediction",
    learning=LearningConfig(patch=8, embedding=64, vision=PreNormConfig(width=64, depth=3, heads=4, hidden=256)),
)  # fmt: skip
BATCH, RATE, MOST, DROPPED = 32, 5e-4, 1.0, 0.1
PAIRS, CONTRAST_RATE = 64, 1e-3
READ, RIDGE = 6_000, 0.1  # captions that the linear reader learns from, and how much it is held back
PRECISION = dtype_for("auto", torch.device("cpu"))
Read = Callable[[Sequence[str]], Tensor]
ASKED: Mapping[str, Callable[[Truth], str]] = {
    "shape": lambda truth: truth.things[0].shape,
    "colour": lambda truth: truth.things[0].colour,
    "place": lambda truth: truth.things[0].place,
    "ground": lambda truth: " ".join((truth.ground.name, *truth.ground.colours)),
}


def batches(images: int, size: int) -> Iterator[Batch]:
    scenes = Scenes(size=SIZE, mix={"shape": 1.0})
    for first in range(0, images, size):
        examples = [scenes[first + k] for k in range(size)]
        pictures = torch.stack([one.image for one in examples]).float() / 127.5 - 1
        yield Batch(pictures, [one.caption for one in examples])


def family() -> StableDiffusion:
    torch.manual_seed(0)
    scenes = Scenes(size=SIZE, mix={"shape": 1.0})
    return StableDiffusion(CONFIG, BPE.train((scenes.truth(k).caption for k in range(5_000)), 512))


def by_contrast(images: int) -> Conditioner:
    """The text encoder of a family that was taught by its own lessons."""
    teaching, told = family(), []

    def loss(batch: Batch) -> Tensor:
        found = teaching.match(batch, Generator())
        told.append(float(found["nearest"]))
        return found["loss"]

    made = learnt(teaching, batches(images, PAIRS), loss, steps=-(-images // PAIRS), rate=CONTRAST_RATE)
    print(f"by contrast: {100 * sum(told[-20:]) / 20:.0f} % of the last pictures picked their own of {PAIRS} captions")
    return made.conditioner


def reading(conditioner: Conditioner) -> Read:
    @torch.no_grad()
    def read(captions: Sequence[str]) -> Tensor:
        return conditioner.captions(captions).tokens

    return read


def told(read: Read, truths: Sequence[Truth], others: Sequence[Truth]) -> str:
    """How much of `others` a linear reader of `truths` finds in their last states, and how much these vary."""
    states, new = last(read, truths), last(read, others)
    mean, spread = states.mean(dim=0), states.std(dim=0)
    seen, asked = (F.pad((some - mean) / spread, (0, 1), value=1.0) for some in (states, new))
    answers = []
    for name, ask in ASKED.items():
        kinds = sorted({ask(truth) for truth in [*truths, *others]})
        right, expected = (torch.tensor([kinds.index(ask(one)) for one in some]) for some in (truths, others))
        weights = torch.linalg.solve(
            seen.T @ seen + RIDGE * torch.eye(seen.shape[1]), seen.T @ F.one_hot(right, len(kinds)).float()
        )
        found = (asked @ weights).argmax(dim=1) == expected
        answers.append(f"{name} {100 * found.float().mean():.0f} % of {len(kinds)} kinds")
    varies = states.var(dim=0).sum() / states.square().sum(dim=1).mean()
    return f"{', '.join(answers)}; {100 * varies:.0f} % of a state's square differs between captions"


def last(read: Read, truths: Sequence[Truth]) -> Tensor:
    parts = (truths[first : first + READ // 20] for first in range(0, len(truths), READ // 20))
    return torch.cat([read([truth.caption for truth in part])[:, -1] for part in parts])


def nothing(captions: Sequence[str]) -> Tensor:
    return torch.zeros(len(captions), 1, CONFIG.unet.context)


def trained(read: Read, images: int) -> UNet:
    torch.manual_seed(0)
    network = UNet(CONFIG.unet).to(memory_format=torch.channels_last)
    schedule, generator = NoiseSchedule(CONFIG.schedule), Generator().manual_seed(0)

    def loss(batch: Batch) -> Tensor:
        x0 = F.pixel_unshuffle(batch.images, FOLD).contiguous(memory_format=torch.channels_last)
        t = torch.randint(len(schedule), (len(x0),), generator=generator)
        eps = torch.randn(x0.shape, generator=generator)
        kept = torch.rand(len(x0), generator=generator) >= DROPPED
        texts = read([one if keep else "" for one, keep in zip(batch.captions, kept, strict=True)])
        alpha, sigma = schedule.factors(t, like=x0)
        with torch.autocast("cpu", PRECISION, enabled=PRECISION is not torch.float32):
            output: Tensor = network(alpha * x0 + sigma * eps, t, texts)
        return (output.float() - V.target(x0, eps, alpha, sigma)).square().mean()

    return learnt(network, batches(images, BATCH), loss, steps=-(-images // BATCH), rate=RATE, most=MOST)


@torch.no_grad()
def drawn(network: UNet, read: Read, captions: Sequence[str]) -> Tensor:
    generator = Generator().manual_seed(1)
    solver = build(
        "ddim", NoiseSchedule(CONFIG.schedule), steps=STEPS, spacing="trailing", prediction=CONFIG.prediction
    )
    noise = torch.randn((len(captions), 3, SIZE, SIZE), generator=generator)
    solver.begin(F.pixel_unshuffle(noise, FOLD))
    texts, scale = torch.cat([read(captions), read([""] * len(captions))]), torch.full((len(captions),), GUIDANCE)
    while not solver.done:
        t = torch.full((len(captions),), float(solver.t))
        solver.take(guide(*network(solver.x, t, texts).chunk(2), scale), generator)
    return F.pixel_shuffle(solver.x, FOLD).clamp(-1.0, 1.0)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--images", type=int, default=80_000)
    arguments.add_argument("--output", type=Path, default=ROOT / "docs" / "families" / "text_space.png")
    asked = arguments.parse_args()
    keep_memory()
    scenes = Scenes("seen", size=SIZE, mix={"shape": 1.0})
    truths = [scenes.truth(k) for k in range(DRAWN)]
    kinds = {
        "learnt by contrast": reading(by_contrast(asked.images)),
        "as initialised": reading(family().conditioner.eval()),
        "no text": nothing,
    }
    every = Scenes(size=SIZE, mix={"shape": 1.0})
    learning = [every.truth(asked.images + k) for k in range(READ)]
    for name in ("learnt by contrast", "as initialised"):
        print(f"{name}: {told(kinds[name], learning, truths)}", flush=True)
    rows: list[tuple[str, Sequence[Tensor]]] = [
        ("what was asked", [scenes[k].image.float() / 127.5 - 1 for k in range(SHOWN)])
    ]
    for name, read in kinds.items():
        pictures = drawn(trained(read, asked.images), read, [truth.caption for truth in truths])
        print(f"{name}: {shares(score(list(pictures), truths))}", flush=True)
        rows.append((name, pictures[:SHOWN].unbind()))
    sheet(rows, side=SIZE * SCALE).save(asked.output, optimize=True)


def shares(readings: Sequence[Reading]) -> str:
    """How often the shape, its colour and the ground are those that were asked for."""
    answers = {
        "shape": [one.things_right for one in readings],
        "colour": [one.colour_right for one in readings],
        "ground": [one.background_right for one in readings if one.background_right is not None],
    }
    return ", ".join(f"{name} {100 * sum(map(bool, right)) / len(right):.0f} %" for name, right in answers.items())


if __name__ == "__main__":
    main()
