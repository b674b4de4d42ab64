"""The discrete autoencoder of DALL-E (Ramesh et al. 2021, section 2.1 and appendix A): pictures to tokens and back.

The encoder says for each place of a grid how likely each token is; the decoder paints the tokens. A choice has no
gradient, so in training it is relaxed (Gumbel-softmax) and made ever harder. What is maximised is a bound on the
likelihood of the pixels, less `divergence` times how far the tokens' distribution is from uniform.

B batch, V tokens to choose from, h and w the grid, C channels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Generator, Tensor, nn

from limner.core import InputError, check
from limner.process.annealing import cosine
from limner.process.categorical import divergence_from_uniform, gumbel_softmax
from limner.process.logit_laplace import log_density, squeeze, unsqueeze
from limner.store import weights

CALIBRATION = 128  # images
ENCODING, DECODING = (3, 3, 3, 1), (1, 3, 3, 3)  # kernels of a block's four convolutions


@dataclass(frozen=True, slots=True)
class DVAEConfig:
    vocabulary: int = 1024
    groups: int = 4  # of blocks; sides halve from one to the next, so a token is 2^(groups - 1) pixels a side
    blocks: int = 2  # in each group
    width: int = 32  # channels at full size; they double as sides halve
    start: int = 128  # channels of the decoder's first map
    coldest: float = 1 / 16  # the relaxation's temperature falls from 1 to this
    cooling: float = 0.5  # the share of the training that this takes
    divergence: float = 6.6  # the weight of the KL term rises from 0 to this
    warming: float = 0.05  # the share of the training that this takes

    def __post_init__(self) -> None:
        check(self.vocabulary >= 2, f"vocabulary = {self.vocabulary} leaves nothing to choose; set 1024, say")
        check(1 <= self.groups <= 8, f"groups = {self.groups} is not from 1 to 8; 4 make tokens of 8 x 8 pixels")
        check(self.blocks >= 1, f"blocks = {self.blocks} must be 1 or more")
        check(self.width >= 4 and self.width % 4 == 0, f"width = {self.width} must divide by 4; set 32, say")
        check(self.start >= 1, f"start = {self.start} must be 1 or more")
        check(0.0 < self.coldest <= 1.0, f"coldest = {self.coldest} is not a temperature above 0 and up to 1")
        check(self.divergence >= 0.0, f"divergence = {self.divergence} must not be negative")
        for name in ("cooling", "warming"):
            share = getattr(self, name)
            check(0.0 <= share <= 1.0, f"{name} = {share} is not a share of the training, from 0 to 1")

    @property
    def factor(self) -> int:
        """Pixels a side that one token stands for."""
        return 1 << (self.groups - 1)

    @property
    def channels(self) -> list[int]:
        """Of the groups, from full size down."""
        return [self.width << group for group in range(self.groups)]


class Block(nn.Module):
    """x + gain * a bottleneck of four convolutions, each after a ReLU. The gain is 1 / (number of blocks)^2, so
    that a deep stack begins near the identity."""

    def __init__(self, channels: int, after: int, *, kernels: Sequence[int], gain: float) -> None:
        super().__init__()
        sizes = (channels, after // 4, after // 4, after // 4, after)
        self.gain = gain
        self.skip = convolution(channels, after, 1) if channels != after else nn.Identity()
        self.convolutions = nn.ModuleList(
            convolution(*pair, kernel) for pair, kernel in zip(itertools.pairwise(sizes), kernels, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for one in self.convolutions:
            h = one(F.relu(h))
        out: Tensor = self.skip(x) + self.gain * h
        return out


class Encoder(nn.Module):
    """Squeezed pixels (B, 3, H, W) to logits (B, V, h, w)."""

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        self.into = convolution(3, config.width, 7)
        self.groups = groups(config, config.width, config.channels, ENCODING)
        self.out = convolution(config.channels[-1], config.vocabulary, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x.contiguous(memory_format=torch.channels_last))  # convolutions keep it, and are faster in it
        for number, group in enumerate(self.groups):
            x = group(F.max_pool2d(x, 2) if number else x)
        return exact(self.out, F.relu(x))


class Decoder(nn.Module):
    """Codes (B, V, h, w), one-hot or soft, to a mean and a log-scale of each logit of a pixel, (B, 6, H, W)."""

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        channels = config.channels[::-1]
        self.into = convolution(config.vocabulary, config.start, 1)
        self.groups = groups(config, config.start, channels, DECODING)
        self.out = convolution(channels[-1], 6, 1)

    def forward(self, codes: Tensor) -> Tensor:
        return self.paint(exact(self.into, codes))

    def embed(self, tokens: Tensor) -> Tensor:
        """What `into` makes of the one-hot vectors of tokens (B, h, w), without writing them out."""
        rows = F.embedding(tokens, self.into.weight[:, :, 0, 0].T) + self.into.bias
        return rearrange(rows, "B h w C -> B C h w")

    def paint(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        for number, group in enumerate(self.groups):
            x = group(F.interpolate(x, scale_factor=2.0, mode="nearest") if number else x)
        return exact(self.out, F.relu(x))


class DVAE(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] to tokens (B, h, w) and back. `passed` of its training, from 0 to 1, is done."""

    passed: Tensor

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.register_buffer("passed", torch.tensor(0.0))

    def encode(self, images: Tensor) -> Tensor:
        """The likeliest token of each place."""
        return self.encoder(squeeze(images)).argmax(dim=1)

    def decode(self, tokens: Tensor) -> Tensor:
        """The median picture; its spread is for training alone."""
        mean, _ = self.decoder.paint(self.decoder.embed(tokens)).chunk(2, dim=1)
        return unsqueeze(mean.sigmoid())

    # -- training ----------------------------------------------------------------------------------

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Begin with logits of unit spread, and with tokens painted in colours as far apart as the pictures' are.

        Fresh weights say nearly the same of every place, and paint every token nearly alike: what came of that is
        a few tokens in use, each for several colours (data-dependent initialisation, Salimans and Kingma 2016).
        """
        squeezed = squeeze(images[:CALIBRATION])
        _standardise(self.encoder.out, self.encoder(squeezed), mean=torch.zeros(()), spread=torch.ones(()))
        pixels = torch.logit(squeezed)
        mean, spread = pixels.mean(dim=(0, 2, 3)), pixels.std(dim=(0, 2, 3)).clamp(min=1e-6)
        alone = torch.arange(self.config.vocabulary, device=images.device)[:, None, None]
        painted = self.decoder.paint(self.decoder.embed(alone))
        rough = torch.cat([mean, spread.log()]), torch.cat([spread, torch.full_like(spread, 0.1)])
        _standardise(self.decoder.out, painted, mean=rough[0], spread=rough[1])

    def anneal(self, passed: float) -> None:
        self.passed.fill_(passed)

    @property
    def temperature(self) -> float:
        return cosine(self.passed.item(), over=self.config.cooling, first=1.0, last=self.config.coldest)

    @property
    def weight(self) -> float:
        """Of the KL term."""
        return cosine(self.passed.item(), over=self.config.warming, first=0.0, last=self.config.divergence)

    def loss(self, images: Tensor, generator: Generator) -> dict[str, Tensor]:
        """Minus the bound on the log-likelihood, in nats for each number of a picture.

        In evaluation the codes are hard, as in use. `error` is the mean squared error of the pixels, `divergence`
        the nats that a token tells, `perplexity` how many tokens are in use.
        """
        squeezed = squeeze(images)
        logits = self.encoder(squeezed)
        codes = self._codes(logits, generator)
        mean, log_scale = self.decoder(codes).chunk(2, dim=1)
        likelihood = log_density(squeezed, mean, log_scale).mean()
        divergence = divergence_from_uniform(logits, dim=1)
        per_number = divergence.sum() / images.numel()
        loss = self.weight * per_number - likelihood
        return {
            "loss": loss,
            "error": F.mse_loss(unsqueeze(mean.detach().sigmoid()), images),
            "divergence": divergence.detach().mean(),
            "perplexity": perplexity(logits.detach()),
        }

    def _codes(self, logits: Tensor, generator: Generator) -> Tensor:
        if self.training:
            return gumbel_softmax(logits, self.temperature, generator, dim=1)
        return torch.zeros_like(logits).scatter_(1, logits.argmax(dim=1, keepdim=True), 1.0)


def convolution(channels: int, after: int, kernel: int) -> nn.Conv2d:
    """Same size out as in; weights N(0, 1 / inputs), no bias at first, as in DALL-E."""
    made = nn.Conv2d(channels, after, kernel, padding=kernel // 2)
    nn.init.normal_(made.weight, std=1.0 / math.sqrt(channels * kernel * kernel))
    nn.init.zeros_(made.bias)
    return made


def groups(config: DVAEConfig, before: int, channels: Sequence[int], kernels: Sequence[int]) -> nn.ModuleList:
    gain = 1.0 / (config.groups * config.blocks) ** 2
    made = nn.ModuleList()
    for after in channels:
        sizes = [before] + [after] * config.blocks
        made.append(nn.Sequential(*(Block(*pair, kernels=kernels, gain=gain) for pair in itertools.pairwise(sizes))))
        before = after
    return made


def _standardise(layer: nn.Conv2d, outputs: Tensor, *, mean: Tensor, spread: Tensor) -> None:
    """Have the layer that said `outputs` say them with this mean and spread in each channel."""
    scale = spread / outputs.std(dim=(0, 2, 3)).clamp(min=1e-6)
    layer.weight.mul_(scale[:, None, None, None])
    assert layer.bias is not None
    layer.bias.copy_((layer.bias - outputs.mean(dim=(0, 2, 3))) * scale + mean)


def exact(layer: nn.Conv2d, x: Tensor) -> Tensor:
    """In float32 even under autocast: next to a choice, and where a scale is small, half precision is not enough."""
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = layer(x.float())
    return out


def perplexity(logits: Tensor) -> Tensor:
    """exp of the entropy of the tokens that a batch uses, all its places taken together."""
    used = logits.softmax(dim=1).mean(dim=(0, 2, 3))
    return torch.special.entr(used).sum().exp()


# ---------------------------------------------------------------------------------------------------
# The weights of the `dall_e` package, as safetensors: its own names, for the encoder and the decoder a file each.


def read_dall_e(encoder: Path, decoder: Path) -> DVAE:
    """The autoencoder in two files, its sizes read off them, on the CPU; its relaxation counts as cold.

    InputError if a file is not sound, or is not the state of `dall_e.Encoder` or `dall_e.Decoder`.
    """
    encoding, decoding = weights.load(encoder), weights.load(decoder)
    config = DVAEConfig(
        vocabulary=_size(encoding, "blocks.output.conv.b", encoder),
        width=_size(encoding, "blocks.input.b", encoder),
        start=_size(decoding, "blocks.input.b", decoder),
        groups=_count(encoding, "blocks.group_{}.block_1.res_path.conv_1.w"),
        blocks=_count(encoding, "blocks.group_1.block_{}.res_path.conv_1.w"),
    )
    made = DVAE(config)
    for part, found, where in ((made.encoder, encoding, encoder), (made.decoder, decoding, decoder)):
        state = part.state_dict()
        names = {name: _their_name(name) for name in state}
        expected = {names[name]: one for name, one in state.items()}
        weights.check_match(f"{where} is not half of a dall_e autoencoder", expected, found)
        part.load_state_dict({name: found[theirs] for name, theirs in names.items()})
    made.anneal(1.0)
    return made.eval()


def _their_name(name: str) -> str:
    *path, kind = name.split(".")
    match path:
        case ["groups", group, block, "skip"]:
            place = f"group_{int(group) + 1}.block_{int(block) + 1}.id_path"
        case ["groups", group, block, "convolutions", number]:
            place = f"group_{int(group) + 1}.block_{int(block) + 1}.res_path.conv_{int(number) + 1}"
        case [edge]:
            place = {"into": "input", "out": "output.conv"}[edge]
    return f"blocks.{place}.{kind[0]}"


def _size(tensors: Mapping[str, Tensor], name: str, where: Path) -> int:
    if name not in tensors:
        raise InputError(f'{where} has no "{name}": it is not half of a dall_e autoencoder; give encoder and decoder')
    return len(tensors[name])


def _count(tensors: Mapping[str, Tensor], name: str) -> int:
    return next(number for number in itertools.count(1) if name.format(number + 1) not in tensors)
