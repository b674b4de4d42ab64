"""DF-GAN (Tao, Tang, Wu, Jing, Bao, Xu 2022): one generator, one discriminator, text in every block.

Deep text-image fusion: each block of the generator scales and shifts its channels twice by what noise and sentence
say. The discriminator judges picture and sentence in one output, and a gradient penalty at true pairs makes
its surface smooth there. The sentence's vector comes from a joint embedding, which is a step of its own.

B batch, W sentence width, Z noise, C channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from limner.core import Batch, Family, Request, Sketch, Step, Tokenizer, check
from limner.nn import gan
from limner.nn.convs import START, doublings, widths
from limner.process.matching import wrong_pictures
from limner.text.joint import JointConfig, JointEmbedding
from limner.text.transformer import TextConfig

SLOPE = 0.2  # of the leaky activations


@dataclass(frozen=True, slots=True)
class Config:
    image_size: int = 64
    noise: int = 100
    width: int = 16  # channels of both networks' finest map
    joint: JointConfig = field(default_factory=JointConfig)
    penalty: float = 2.0  # weight of the gradient penalty
    power: float = 6.0  # of the gradient's norm in it
    squash: Literal["tanh", "none"] = "tanh"  # of the last layer; "none" where pictures have much pure white
    pace: float = 0.25  # how fast the generator learns, by the discriminator's rate

    def __post_init__(self) -> None:
        doublings(self.image_size)
        check(
            self.noise > 0 and self.width > 0, f"noise = {self.noise} and width = {self.width} must each be 1 or more"
        )
        check(self.penalty >= 0.0, f"penalty = {self.penalty} must not be negative; 2 is usual")
        check(self.power >= 2.0, f"power = {self.power} must be 2 or more; 6 is usual")
        check(self.pace > 0.0, f"pace = {self.pace} must be above 0; 0.25 is usual")


@dataclass(frozen=True, slots=True)
class Knobs(gan.TruncationKnobs):
    truncation: float = 0.88  # size of the noise, which is cut at two deviations; less is more usual, and more alike


class Affine(nn.Module):
    """Channels scaled and shifted by two small networks of a condition (B, D). It begins as the identity."""

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.scale, self.shift = _two_layers(condition, channels), _two_layers(condition, channels)
        for network, start in ((self.scale, 1.0), (self.shift, 0.0)):
            last = network[-1]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.constant_(last.bias, start)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.scale(condition), self.shift(condition)
        return x * scale[:, :, None, None] + shift[:, :, None, None]


def _two_layers(condition: int, channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(condition, channels), nn.ReLU(), nn.Linear(channels, channels))


class Fusion(nn.Module):
    """Two affine layers, each followed by an activation (the paper's DFBlock)."""

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.affines = nn.ModuleList(Affine(condition, channels) for _ in range(2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        for affine in self.affines:
            x = F.leaky_relu(affine(x, condition), SLOPE)
        return x


class Up(nn.Module):
    """A doubling of the side, then two fused convolutions beside a shortcut."""

    def __init__(self, condition: int, channels: int, after: int) -> None:
        super().__init__()
        self.fusions = nn.ModuleList(Fusion(condition, width) for width in (channels, after))
        self.convs = nn.ModuleList(nn.Conv2d(width, after, 3, padding=1) for width in (channels, after))
        self.shortcut = nn.Conv2d(channels, after, 1) if channels != after else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0)
        h = x
        for fusion, conv in zip(self.fusions, self.convs, strict=True):
            h = conv(fusion(h, condition))
        out: Tensor = self.shortcut(x) + h
        return out


class Generator(nn.Module):
    """Noise (B, Z) and sentences (B, W) to pictures (B, 3, H, W)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        maps = widths(config.width, doublings(config.image_size) + 1)[::-1]
        condition = config.noise + config.joint.text.width
        self.start = nn.Linear(config.noise, maps[0] * START * START)
        self.blocks = nn.ModuleList(Up(condition, before, after) for before, after in itertools.pairwise(maps))
        self.out = nn.Conv2d(maps[-1], 3, 3, padding=1)
        self.squash = config.squash

    def forward(self, noise: Tensor, sentences: Tensor) -> Tensor:
        condition = torch.cat([noise, sentences], dim=1)
        x = rearrange(self.start(noise), "B (C h w) -> B C h w", h=START, w=START)
        for block in self.blocks:
            x = block(x, condition)
        drawn = self.out(F.leaky_relu(x, SLOPE))
        return torch.tanh(drawn) if self.squash == "tanh" else drawn


class Down(nn.Module):
    """A halving of the side: two convolutions, weighted by a number that begins at zero, beside a shortcut."""

    def __init__(self, channels: int, after: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, after, 4, stride=2, padding=1, bias=False),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.LeakyReLU(SLOPE),
        )
        self.weight = nn.Parameter(torch.zeros(()))
        self.shortcut = nn.Conv2d(channels, after, 1) if channels != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.shortcut(x), 2) + self.weight * self.branch(x)


class Discriminator(nn.Module):
    """Pictures and sentences (B, W) to one score (B,). The pictures are looked at once, whatever is said of them."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        maps = widths(config.width, doublings(config.image_size) + 1)
        halvings = itertools.starmap(Down, itertools.pairwise(maps))
        self.look = nn.Sequential(nn.Conv2d(3, maps[0], 3, padding=1), *halvings)
        self.join = nn.Sequential(
            nn.Conv2d(maps[-1] + config.joint.text.width, 2 * config.width, 3, padding=1, bias=False),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(2 * config.width, 1, START, bias=False),
        )

    def judge(self, seen: Tensor, sentences: Tensor) -> Tensor:
        """`seen` is (B, C, 4, 4), what `look` made of the pictures."""
        told = repeat(sentences, "B C -> B C h w", h=START, w=START)
        out: Tensor = self.join(torch.cat([seen, told], dim=1))
        return out.flatten()


def gradient_penalty(scores: Tensor, *inputs: Tensor, power: float) -> Tensor:
    """E |grad C|^power, the gradient of each score (B,) by all of its `inputs` (B, ...) together."""
    slopes = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    squares = torch.stack([slope.flatten(1).square().sum(dim=1) for slope in slopes]).sum(dim=0)
    return squares.pow(power / 2.0).mean()


class DFGAN(Family):
    Config = Config
    Knobs = Knobs
    presets: ClassVar[dict[str, Config]] = {"base": Config()}
    presets["paper"] = replace(presets["base"], image_size=256, width=32)
    presets["tiny"] = replace(
        presets["base"], image_size=16, noise=8,
        joint=JointConfig(text=TextConfig(width=32, depth=1, heads=2, hidden=64, length=32), channels=8),
    )  # fmt: skip

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.joint = JointEmbedding(config.joint, tokenizer)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)

    # -- training ----------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        return [
            self.joint.step(),
            Step("discriminator", list(self.discriminator.parameters()), self.judge),
            Step("generator", list(self.generator.parameters()), self.please, rate=self.config.pace),
        ]

    def judge(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The hinge of true pairs against drawn and wrong ones, of half the weight each; and the penalty."""
        sentences = self.joint.sentences(batch.captions)
        with torch.no_grad():
            drawn = self.draw(sentences, generator)
        with torch.enable_grad(), torch.autocast(sentences.device.type, enabled=False):
            # Gradients are wanted also where the loss is only looked at; a sixth power has no use for half precision.
            images, told = batch.images.detach().requires_grad_(), sentences.detach().requires_grad_()
            seen = self.discriminator.look(images)
            true = self.discriminator.judge(seen, told)
            penalty = gradient_penalty(true, images, told, power=self.config.power)
        other = wrong_pictures(batch, generator)
        wrong = self.discriminator.judge(seen[other.places], sentences)
        false = self.discriminator.judge(self.discriminator.look(drawn), sentences)
        parts = {
            "right": F.relu(1.0 - true).mean(), "wrong": other.mean(F.relu(1.0 + wrong)),
            "drawn": F.relu(1.0 + false).mean(), "penalty": self.config.penalty * penalty,
        }  # fmt: skip
        loss = parts["right"] + 0.5 * (parts["wrong"] + parts["drawn"]) + parts["penalty"]
        return {"loss": loss, **{name: part.detach() for name, part in parts.items()}}

    def please(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        sentences = self.joint.sentences(batch.captions)
        drawn = self.draw(sentences, generator)
        return {"loss": -self.discriminator.judge(self.discriminator.look(drawn), sentences).mean()}

    def draw(self, sentences: Tensor, generator: torch.Generator) -> Tensor:
        pictures: Tensor = self.generator(gan.noise_for(sentences, self.config.noise, generator), sentences)
        return pictures

    # -- drawing -----------------------------------------------------------------------------------

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        sentences = self.joint.sentences([request.prompt for request in requests])
        return gan.begin(requests, sentences, noise=self.config.noise)

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        gan.advance(sketches, self.generator)
