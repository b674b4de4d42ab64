"""GAN-INT-CLS (Reed, Akata, Yan, Logeswaran, Schiele, Lee 2016): a convolutional GAN conditioned on a sentence.

The discriminator is shown true pairs, drawn ones, and true pictures with a wrong sentence (CLS), so that it
learns whether a picture fits its words. The generator also has to please it with mixtures of two sentences, for which
there is no picture (INT). The sentence's vector comes from a joint embedding of texts and pictures, which is a
step of its own.

B batch, W sentence width, Z noise, C channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from limner.core import Batch, Family, InputError, Request, Sketch, Step, Tokenizer, check
from limner.nn import gan
from limner.nn.convs import START, doublings, widths
from limner.process.matching import wrong_pictures
from limner.text.char_cnn_rnn import CharConfig
from limner.text.joint import JointConfig, JointEmbedding
from limner.text.transformer import TextConfig

SLOPE = 0.2  # of the leaky activations
SQUEEZE = 4  # how much narrower a residual block is within


@dataclass(frozen=True, slots=True)
class Config:
    image_size: int = 64
    noise: int = 100
    told: int = 128  # what either network keeps of the sentence
    width: int = 64  # channels of the generator's finest map
    critic_width: int = 32  # and of the discriminator's
    joint: JointConfig = field(default_factory=JointConfig)
    wrong: float = 0.5  # weight of wrong pairs in the discriminator's loss; drawn ones have the rest
    mixed: float = 1.0  # weight of mixed sentences in the generator's loss; 0 is GAN-CLS

    def __post_init__(self) -> None:
        check(doublings(self.image_size) >= 2, f"image_size = {self.image_size} must be 16 or more")
        check(
            min(self.noise, self.told, self.width, self.critic_width) > 0,
            f"noise = {self.noise}, told = {self.told}, width = {self.width} and critic_width = {self.critic_width} "
            "must each be 1 or more",
        )
        check(0.0 <= self.wrong <= 1.0, f"wrong = {self.wrong} is not a share from 0 to 1; 0.5 is usual")
        check(self.mixed >= 0.0, f"mixed = {self.mixed} must not be negative; 1 is usual, 0 mixes none")


class Generator(nn.Module):
    """Noise (B, Z) and sentences (B, W) to pictures (B, 3, H, W)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tell = nn.Sequential(nn.Linear(config.joint.text.width, config.told), nn.LeakyReLU(SLOPE))
        maps = widths(config.width, doublings(config.image_size))[::-1]
        first, second = maps[:2]
        self.grow = nn.Sequential(
            nn.ConvTranspose2d(config.noise + config.told, first, START, bias=False),
            nn.BatchNorm2d(first),
            Residual(first, nn.ReLU()),
            *_doubling(first, second),
            Residual(second, nn.ReLU()),
            *(layer for pair in itertools.pairwise(maps[1:]) for layer in _doubling(*pair, nn.ReLU())),
            nn.ConvTranspose2d(maps[-1], 3, 4, stride=2, padding=1, bias=False),
            nn.Tanh(),
        )

    def forward(self, noise: Tensor, sentences: Tensor) -> Tensor:
        told = torch.cat([noise, self.tell(sentences)], dim=1)
        out: Tensor = self.grow(rearrange(told, "B C -> B C 1 1"))
        return out


class Discriminator(nn.Module):
    """Pictures and sentences (B, W) to logits (B,) of their being a true pair. The pictures are looked at once."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        maps = widths(config.critic_width, doublings(config.image_size))
        pairs = [*itertools.pairwise(maps)]
        self.look = nn.Sequential(
            nn.Conv2d(3, maps[0], 4, stride=2, padding=1, bias=False),
            nn.LeakyReLU(SLOPE),
            *(layer for pair in pairs[:-2] for layer in _halving(*pair, nn.LeakyReLU(SLOPE))),
            *(layer for pair in pairs[-2:] for layer in _halving(*pair)),  # as published, without an activation
            Residual(maps[-1], nn.LeakyReLU(SLOPE)),
        )
        self.tell = nn.Sequential(
            nn.Linear(config.joint.text.width, config.told), nn.BatchNorm1d(config.told), nn.LeakyReLU(SLOPE)
        )
        self.join = nn.Sequential(
            nn.Conv2d(maps[-1] + config.told, maps[-1], 1, bias=False),
            nn.BatchNorm2d(maps[-1]),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(maps[-1], 1, START, bias=False),
        )

    def judge(self, seen: Tensor, sentences: Tensor) -> Tensor:
        """`seen` is (B, C, 4, 4), what `look` made of the pictures."""
        told = repeat(self.tell(sentences), "B C -> B C h w", h=START, w=START)
        out: Tensor = self.join(torch.cat([seen, told], dim=1))
        return out.flatten()


class Residual(nn.Module):
    """A bottleneck beside the identity, activated after the sum."""

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__()
        inner = max(1, channels // SQUEEZE)
        self.activation = activation
        self.branch = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            activation,
            nn.Conv2d(inner, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            activation,
            nn.Conv2d(inner, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(x + self.branch(x))
        return out


def _doubling(channels: int, after: int, *activation: nn.Module) -> tuple[nn.Module, ...]:
    """Without a bias, as are all convolutions here: the original sets theirs to zero before each step."""
    return nn.ConvTranspose2d(channels, after, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), *activation


def _halving(channels: int, after: int, *activation: nn.Module) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, after, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(after), *activation


class GANIntCls(Family):
    Config = Config
    Knobs = gan.TruncationKnobs
    presets: ClassVar[dict[str, Config]] = {"base": Config()}
    presets["paper"] = replace(presets["base"], width=128, critic_width=64, joint=JointConfig(text=CharConfig()))
    presets["tiny"] = replace(
        presets["base"], image_size=32, noise=8, told=16, width=16, critic_width=16,
        joint=JointConfig(text=TextConfig(width=32, depth=1, heads=2, hidden=64, length=32), channels=8),
    )  # fmt: skip

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.joint = JointEmbedding(config.joint, tokenizer)
        self.generator = Generator(config)
        self.discriminator = Discriminator(config)
        self.generator.apply(_initialise)
        self.discriminator.apply(_initialise)

    # -- training ----------------------------------------------------------------------------------

    def steps(self) -> list[Step]:
        return [
            self.joint.step(),
            Step("discriminator", list(self.discriminator.parameters()), self.judge),
            Step("generator", list(self.generator.parameters()), self.please),
        ]

    def judge(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross entropy: true pairs against wrong and drawn ones, which share a weight of one."""
        self._check_large_enough(batch)
        sentences = self.joint.sentences(batch.captions)
        with torch.no_grad():
            drawn = self.draw(sentences, generator)
        other = wrong_pictures(batch, generator)
        seen = self.discriminator.look(batch.images)
        right = self.discriminator.judge(seen, sentences)
        wrong = self.discriminator.judge(seen[other.places], sentences)
        false = self.discriminator.judge(self.discriminator.look(drawn), sentences)
        parts = {
            "right": F.softplus(-right).mean(), "wrong": other.mean(F.softplus(wrong)),
            "drawn": F.softplus(false).mean(),
        }  # fmt: skip
        loss = parts["right"] + self.config.wrong * parts["wrong"] + (1.0 - self.config.wrong) * parts["drawn"]
        return {"loss": loss, **{name: part.detach() for name, part in parts.items()}}

    def please(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Cross entropy of being taken for true, with the batch's sentences and with half as many mixed ones."""
        self._check_large_enough(batch)
        sentences = self.joint.sentences(batch.captions)
        half = len(sentences) // 2
        mixed = 0.5 * (sentences[:half] + sentences[half : 2 * half])
        told = torch.cat([sentences, mixed])
        weights = torch.cat([sentences.new_ones(len(batch)), sentences.new_full((half,), self.config.mixed)])
        logits = self.discriminator.judge(self.discriminator.look(self.draw(told, generator)), told)
        return {"loss": (weights * F.softplus(-logits)).mean()}

    def draw(self, sentences: Tensor, generator: torch.Generator) -> Tensor:
        pictures: Tensor = self.generator(gan.noise_for(sentences, self.config.noise, generator), sentences)
        return pictures

    def _check_large_enough(self, batch: Batch) -> None:
        if self.training and len(batch) < 2:
            raise InputError("batch = 1 leaves nothing to normalise and no wrong pictures; set train.batch = 64, say")

    # -- drawing -----------------------------------------------------------------------------------

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        sentences = self.joint.sentences([request.prompt for request in requests])
        return gan.begin(requests, sentences, noise=self.config.noise)

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        """In evaluation mode the norms use what training gathered, so that a picture does not depend on others."""
        gan.advance(sketches, self.generator)


def _initialise(module: nn.Module) -> None:
    """DCGAN's (Radford et al. 2015); the linear layers keep torch's."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, mean=1.0, std=0.02)
