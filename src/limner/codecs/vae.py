"""The autoencoder of latent diffusion (Rombach et al. 2022, appendix G): pictures to small Gaussian latents and back.

The encoder says a Gaussian for each number of the latents, the decoder paints a sample of it. Parameters have the names
of diffusers' AutoencoderKL, so that the VAEs of Stable Diffusion fit as they are. Where no gradient is wanted,
large pictures are coded one by one, their layers by strips; the largest by tiles.

B batch, C channels of the latents, f pixels a side that one of them stands for, h = H / f, w = W / f.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from limner.codecs import strips
from limner.codecs.klt import KLT
from limner.codecs.last_layer import fit_last
from limner.codecs.tiles import tiled
from limner.core import check
from limner.nn.attention import attend
from limner.nn.residual import ResidualBlock, Upsample, activate
from limner.process.gaussians import Gaussian

EPS = 1e-6  # of every norm
LOGVAR = (-30.0, 20.0)  # a latent's log-variance is kept within
LEAST_SPREAD = 0.01  # of the largest: what says nothing is not blown up
FIRST_LOGVAR = -6.0  # a sample is a twentieth beside the mean
FOLLOWED = 0.05  # of what is known of the latents is new with each batch
WHOLE = 1 << 21  # pixels that are coded at once: no model was trained on more, and 2 GiB hold the maps in bfloat16
TILE, OVERLAP = 1024, 256  # pixels a side


@dataclass(frozen=True, slots=True)
class VAEConfig:
    """`scale` and `shift` make latents = (z - shift) * scale of what the network says, z: of unit spread.

    With scale = "measured" they are no constants: `VAE.follow` finds them for each channel, kept with the weights.
    """

    widths: tuple[int, ...] = (128, 256, 512, 512)  # channels of each level, from full size down; sides halve between
    blocks: int = 2  # residual blocks a level, and one more in the decoder
    channels: int = 4  # of the latents
    groups: int = 32  # of every norm
    scale: float | Literal["measured"] = 0.18215
    shift: float = 0.0

    def __post_init__(self) -> None:
        check(
            1 <= len(self.widths) <= 8,
            f"widths = {list(self.widths)} is not of 1 to 8 levels; 4 make latents of 8 pixels",
        )
        check(self.groups >= 1, f"groups = {self.groups} must be 1 or more")
        check(
            all(width > 0 and width % self.groups == 0 for width in self.widths),
            f"widths = {list(self.widths)} do not all divide into groups = {self.groups}",
        )
        check(self.blocks >= 1, f"blocks = {self.blocks} must be 1 or more")
        check(self.channels >= 1, f"channels = {self.channels} must be 1 or more; 4 are usual")
        check(self.scale == "measured" or self.scale > 0.0, f'scale = {self.scale} must be above 0, or "measured"')

    @property
    def factor(self) -> int:
        """Pixels a side that one latent stands for."""
        return 1 << (len(self.widths) - 1)


class Attention(nn.Module):
    """x + what every place hears from all others, by one head as wide as the map."""

    attend: Callable[[Tensor, Tensor, Tensor], Tensor] = staticmethod(attend)

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=EPS)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        rows = rearrange(self.group_norm(x), "B C h w -> B 1 (h w) C")
        heard = self.attend(self.to_q(rows), self.to_k(rows), self.to_v(rows))
        return x + rearrange(self.to_out[0](heard), "B 1 (h w) C -> B C h w", h=height)


class Downsample(nn.Module):
    """Halves the sides by a convolution that is padded below and on the right alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class Level(nn.Module):
    """Residual blocks, then whatever changes the sides."""

    def __init__(self, channels: int, after: int, *, blocks: int, groups: int) -> None:
        super().__init__()
        sizes = itertools.pairwise([channels] + [after] * blocks)
        self.resnets = nn.ModuleList(ResidualBlock(*pair, groups=groups, eps=EPS) for pair in sizes)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resnets:
            x = strips.residual(block, x)
        return x


class Down(Level):
    def __init__(self, channels: int, after: int, *, blocks: int, groups: int, last: bool) -> None:
        super().__init__(channels, after, blocks=blocks, groups=groups)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(after)])

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        for one in self.downsamplers:
            x = one(x)
        return x


class Up(Level):
    def __init__(self, channels: int, after: int, *, blocks: int, groups: int, last: bool) -> None:
        super().__init__(channels, after, blocks=blocks, groups=groups)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(after)])

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)
        for one in self.upsamplers:
            x = strips.doubled(one, x) if strips.suit(x) else one(x)
        return x


class Middle(nn.Module):
    """Attention between two residual blocks."""

    def __init__(self, channels: int, *, groups: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([Attention(channels, groups=groups)])
        self.resnets = nn.ModuleList(ResidualBlock(channels, channels, groups=groups, eps=EPS) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        before, after = self.resnets
        return strips.residual(after, self.attentions[0](strips.residual(before, x)))


class Encoder(nn.Module):
    """Pictures (B, 3, H, W) to (B, 2 C, h, w)."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths, groups = config.widths, config.groups
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(
            Down(*pair, blocks=config.blocks, groups=groups, last=number == len(widths))
            for number, pair in enumerate(itertools.pairwise(widths[:1] + widths), 1)
        )
        self.mid_block = Middle(widths[-1], groups=groups)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv_in(images.contiguous(memory_format=torch.channels_last))  # convolutions keep it
        for level in self.down_blocks:
            x = level(x)
        out: Tensor = self.conv_out(activate(self.conv_norm_out(self.mid_block(x))))
        return out


class Decoder(nn.Module):
    """Samples (B, C, h, w) to pictures (B, 3, H, W)."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        widths, groups = config.widths[::-1], config.groups
        self.conv_in = nn.Conv2d(config.channels, widths[0], 3, padding=1)
        self.mid_block = Middle(widths[0], groups=groups)
        self.up_blocks = nn.ModuleList(
            Up(*pair, blocks=config.blocks + 1, groups=groups, last=number == len(widths))
            for number, pair in enumerate(itertools.pairwise(widths[:1] + widths), 1)
        )
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(z.contiguous(memory_format=torch.channels_last)))
        for level in self.up_blocks:
            x = level(x)
        if strips.suit(x):
            return strips.convolved(self.conv_norm_out, self.conv_out, x)
        out: Tensor = self.conv_out(activate(self.conv_norm_out(x)))
        return out


class VAE(nn.Module):
    """A `core.Codec`: pictures (B, 3, H, W) in [-1, 1] to latents (B, C, h, w) and back, without chance.

    A picture above `WHOLE` pixels is coded in tiles, which agree with the whole only nearly: see codecs/tiles.py.
    """

    mean: Tensor
    spread: Tensor
    measured: Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quant_conv = nn.Conv2d(2 * config.channels, 2 * config.channels, 1)
        self.post_quant_conv = nn.Conv2d(config.channels, config.channels, 1)
        if config.scale == "measured":
            self.register_buffer("mean", torch.full((config.channels,), config.shift))
            self.register_buffer("spread", torch.ones(config.channels))
            self.register_buffer("measured", torch.tensor(False))

    def encode(self, images: Tensor) -> Tensor:
        """The likeliest latents, of unit spread."""
        return self.normalise(self.moments(images).mean)

    def decode(self, latents: Tensor) -> Tensor:
        return self.paint(self.restore(latents))

    def moments(self, images: Tensor) -> Gaussian:
        """What the encoder says of each number of the latents, before they have unit spread; InputError where
        the sides do not divide by f."""
        factor = self.config.factor
        check(
            images.shape[2] % factor == 0 and images.shape[3] % factor == 0,
            f"a picture of {images.shape[3]} x {images.shape[2]} pixels does not divide into latents of {factor} x "
            f"{factor}; crop or resize it to multiples of {factor}",
        )
        mean, logvar = self._by_size(self._look, images, reads=factor, writes=1).chunk(2, dim=1)
        return Gaussian(mean, 0.5 * logvar.clamp(*LOGVAR))

    def paint(self, z: Tensor) -> Tensor:
        """Pictures of a sample of `moments`."""
        return self._by_size(self._paint, z, reads=1, writes=self.config.factor)

    def normalise(self, z: Tensor) -> Tensor:
        """Samples of `moments` to latents."""
        mean, spread = self._units()
        return (z - mean) / spread

    def restore(self, latents: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        mean, spread = self._units()
        return latents * spread + mean

    def _units(self) -> tuple[Tensor | float, Tensor | float]:
        """Numbers that are constants stay Python's own: as tensors in bfloat16 they would be others."""
        if self.config.scale == "measured":
            return self.mean[:, None, None], self.spread[:, None, None]
        return self.config.shift, 1.0 / self.config.scale

    # -- training ----------------------------------------------------------------------------------

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Begin near the best linear code: latents that are the principal components of the pixels that each stands
        for, and pictures that are nearest to `images`, as far as last layers alone can do it by least squares.

        From fresh weights a thousand updates are spent on the way there.
        """
        basis = KLT(patch=self.config.factor, channels=self.config.channels).to(images.device)
        basis.fit(images)
        wanted = basis.encode(images) / floored(basis.spread)[:, None, None]
        for layer in (self.quant_conv, self.post_quant_conv):
            nn.init.dirac_(layer.weight)
            nn.init.zeros_(layer.bias)
        told = torch.cat([wanted, torch.full_like(wanted, FIRST_LOGVAR)], dim=1)
        fit_last(self.encoder, self.encoder.conv_out, images, told)
        z = self.moments(images).mean
        fit_last(self.decoder, self.decoder.conv_out, self.post_quant_conv(z), images)
        self.follow(z)

    @torch.no_grad()
    def follow(self, z: Tensor) -> None:
        """Have `mean` and `spread` follow what the network says while it learns: (B, C, h, w) of one batch."""
        assert self.config.scale == "measured", "the configuration says the scale"
        share = FOLLOWED if self.measured else 1.0
        self.mean.lerp_(z.float().mean(dim=(0, 2, 3)), share)
        self.spread.lerp_(floored(z.float().std(dim=(0, 2, 3))), share)
        self.measured.fill_(True)

    def _look(self, images: Tensor) -> Tensor:
        out: Tensor = self.quant_conv(self.encoder(images))
        return out

    def _paint(self, z: Tensor) -> Tensor:
        out: Tensor = self.decoder(self.post_quant_conv(z))
        return out

    def _by_size(self, code: Callable[[Tensor], Tensor], x: Tensor, *, reads: int, writes: int) -> Tensor:
        """`code` of all of x together while it is small, then one by one, then in tiles."""
        pixels = x.shape[2] * x.shape[3] * (self.config.factor // reads) ** 2
        if torch.is_grad_enabled() or pixels * self.config.widths[0] <= strips.NUMBERS:
            return code(x)
        if pixels > WHOLE:
            sides = {"side": TILE // self.config.factor, "overlap": OVERLAP // self.config.factor}
            code = partial(tiled, code, reads=reads, writes=writes, **sides)
        return torch.cat([code(one) for one in x.split(1)])


def floored(spread: Tensor) -> Tensor:
    """Of each channel (C,)."""
    return spread.clamp(min=LEAST_SPREAD * spread.max().item() + 1e-6)
