"""The denoiser of latent diffusion: a U-Net that reads the text by attention (Rombach et al. 2022; Podell et al. 2023).

Its parameters have the names that diffusers gives them, so that a folder of weights is read as it is.

B batch, C channels, h and w the latents' grid, L text tokens, W width of a level, N = h * w its places, H heads, D head
size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from limner.core import check
from limner.nn.attention import attend
from limner.nn.residual import Downsample, ResidualBlock, Upsample
from limner.nn.sinusoid import sinusoid

EPS = 1e-5  # of the residual blocks' group norms
TRANSFORMER_EPS = 1e-6  # of the group norm before attention


@dataclass(frozen=True, slots=True)
class UNetConfig:
    channels_in: int = 4
    channels_out: int = 4
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    blocks: int = 2  # residual blocks of each level on the way down; one more on the way up
    depths: tuple[int, ...] = (1, 1, 1, 0)  # transformer blocks behind each of them, by level; 0 is no attention
    middle: int = 1  # transformer blocks in the middle
    heads: tuple[int, ...] = (8, 8, 8, 8)  # by level; the middle has as many as the last
    context: int = 768  # width of the text's tokens
    linear: bool = (
        False  # whether tokens enter and leave attention by linear layers (SD 2, SDXL) or by 1 x 1 convolutions
    )
    added: int = 0  # width of the vector that joins the time (SDXL: 2816); 0 is none
    groups: int = 32  # of the group norms

    def __post_init__(self) -> None:
        levels = len(self.widths)
        check(levels >= 1 and min(self.widths) > 0, f"widths = {self.widths} are not widths of one or more levels")
        for name in ("depths", "heads"):
            given = getattr(self, name)
            check(len(given) == levels, f"{name} = {given} has {len(given)} levels where widths has {levels}")
        check(self.blocks >= 1, f"blocks = {self.blocks} must be 1 or more")
        check(self.groups >= 1, f"groups = {self.groups} must be 1 or more")
        check(
            min(self.depths) >= 0 and self.middle >= 0, f"depths = {self.depths} and middle = {self.middle}: 0 or more"
        )
        for width, heads in zip(self.widths, self.heads, strict=True):
            check(width % self.groups == 0, f"a width of {width} does not divide into groups = {self.groups}")
            check(heads > 0 and width % heads == 0, f"a width of {width} does not divide into {heads} heads")

    @property
    def multiple(self) -> int:
        """What the sides of a grid must divide by, to be halved from level to level."""
        return 1 << (len(self.widths) - 1)

    @property
    def time_width(self) -> int:
        return 4 * self.widths[0]


class UNet(nn.Module):
    """Noisy latents, their times and a text to what the model predicts of them: the noise, or the velocity."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths, time = config.widths, config.time_width
        self.conv_in = nn.Conv2d(config.channels_in, widths[0], 3, padding=1)
        self.time_embedding = Embedding(widths[0], time)
        self.add_embedding = Embedding(config.added, time) if config.added else None
        self.down_blocks = nn.ModuleList(Down(config, level) for level in range(len(widths)))
        self.mid_block = Middle(config)
        self.up_blocks = nn.ModuleList(Up(config, level) for level in reversed(range(len(widths))))
        self.conv_norm_out = nn.GroupNorm(config.groups, widths[0], eps=EPS)
        self.conv_out = nn.Conv2d(widths[0], config.channels_out, 3, padding=1)
        self.initialise()

    def initialise(self) -> None:
        """What is added to a residual stream begins at zero, and so does the answer (Ho et al. 2020)."""
        last = [module.conv2 for module in self.modules() if isinstance(module, ResidualBlock)]
        last += [module.proj_out for module in self.modules() if isinstance(module, Transformer)]
        for layer in (*last, self.conv_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for edge in (self.conv_in, self.conv_out):
            edge._limner_group = "adamw"  # type: ignore[assignment]  # Muon is for hidden matrices

    def forward(self, x: Tensor, t: Tensor, context: Tensor, added: Tensor | None = None) -> Tensor:
        """(B, C, h, w) at times t (B,) from 0 to 999, with texts (G B, L, context), to (G B, channels_out, h, w).

        The texts are G groups, of one for each of the latents: with G = 2, guidance's two answers. What comes before a
        text is first read is then computed once. `added` is SDXL's vector (B, added), for a config that has one."""
        time = self.embed(t, added, x.dtype)
        x = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        skips = [x]
        for block in self.down_blocks:
            x, passed = block(x, time, context)
            skips += passed
        x, time, *skips = (in_groups(one, context) for one in (x, time, *skips))
        x = self.mid_block(x, time, context)
        for block in self.up_blocks:
            x = block(x, skips, time, context)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return out

    def embed(self, t: Tensor, added: Tensor | None, dtype: torch.dtype) -> Tensor:
        """The times, and SDXL's vectors, as every residual block reads them, (B, time width)."""
        time: Tensor = self.time_embedding(sinusoid(t, self.config.widths[0]).to(dtype))
        if self.add_embedding is not None:
            assert added is not None
            time = time + self.add_embedding(added.to(dtype))
        return time


def in_groups(x: Tensor, context: Tensor) -> Tensor:
    """x (B, ...), once for each group of texts (G B, ...); as it is where it is so already."""
    return torch.cat([x] * (len(context) // len(x))) if len(x) < len(context) else x  # in its memory format


class Embedding(nn.Module):
    """A vector to the time's width, by one hidden layer."""

    def __init__(self, width: int, after: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(width, after), nn.Linear(after, after)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear_2(F.silu(self.linear_1(x)))
        return out


# ---------------------------------------------------------------------------------------------------
# The levels.


class Down(nn.Module):
    """Residual blocks, each before its attention, and a halving, but for the last level."""

    def __init__(self, config: UNetConfig, level: int) -> None:
        super().__init__()
        width, before = config.widths[level], config.widths[max(level - 1, 0)]
        self.resnets = nn.ModuleList(
            _residual(config, before if number == 0 else width, width) for number in range(config.blocks)
        )
        self.attentions = _attentions(config, level, config.blocks)
        last = level == len(config.widths) - 1
        self.downsamplers = None if last else nn.ModuleList([Downsample(width)])

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Also what the way up is to see again, in order."""
        passed = []
        for resnet, attention in _paired(self.resnets, self.attentions):
            x = resnet(x, in_groups(time, x))
            x = attention(x, context) if attention is not None else x
            passed.append(x)
        if self.downsamplers is not None:
            x = self.downsamplers[0](x)
            passed.append(x)
        return x, passed


class Middle(nn.Module):
    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        width = config.widths[-1]
        self.resnets = nn.ModuleList(_residual(config, width, width) for _ in range(2))
        self.attentions = (
            nn.ModuleList([Transformer(config, width, heads=config.heads[-1], depth=config.middle)])
            if config.middle
            else None
        )

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        x = self.resnets[0](x, time)
        x = self.attentions[0](x, context) if self.attentions is not None else x
        out: Tensor = self.resnets[1](x, time)
        return out


class Up(nn.Module):
    """As on the way down, each residual block reading beside x what was there before, the latest first."""

    def __init__(self, config: UNetConfig, level: int) -> None:
        super().__init__()
        widths, count = config.widths, config.blocks + 1
        below = widths[min(level + 1, len(widths) - 1)]
        first = widths[max(level - 1, 0)]  # the earliest of the level's skips came from the level above
        skips = [widths[level]] * config.blocks + [first]
        inward = [below] + [widths[level]] * config.blocks
        self.resnets = nn.ModuleList(
            _residual(config, x + skip, widths[level]) for x, skip in zip(inward, skips, strict=True)
        )
        self.attentions = _attentions(config, level, count)
        self.upsamplers = nn.ModuleList([Upsample(widths[level])]) if level > 0 else None

    def forward(self, x: Tensor, skips: list[Tensor], time: Tensor, context: Tensor) -> Tensor:
        """Takes its own from the end of `skips`."""
        for resnet, attention in _paired(self.resnets, self.attentions):
            x = resnet(torch.cat([x, skips.pop()], dim=1), time)
            x = attention(x, context) if attention is not None else x
        return x if self.upsamplers is None else self.upsamplers[0](x)


def _residual(config: UNetConfig, before: int, after: int) -> ResidualBlock:
    return ResidualBlock(before, after, time=config.time_width, groups=config.groups, eps=EPS)


def _attentions(config: UNetConfig, level: int, count: int) -> nn.ModuleList | None:
    width, depth = config.widths[level], config.depths[level]
    if not depth:
        return None
    return nn.ModuleList(Transformer(config, width, heads=config.heads[level], depth=depth) for _ in range(count))


def _paired(resnets: nn.ModuleList, attentions: nn.ModuleList | None) -> list[tuple[nn.Module, nn.Module | None]]:
    if attentions is None:
        return [(resnet, None) for resnet in resnets]
    return list(zip(resnets, attentions, strict=True))


# ---------------------------------------------------------------------------------------------------
# Attention: each place of a level's grid as a token.


class Transformer(nn.Module):
    def __init__(self, config: UNetConfig, width: int, *, heads: int, depth: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.groups, width, eps=TRANSFORMER_EPS)
        self.proj_in = nn.Linear(width, width) if config.linear else nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(width, heads=heads, context=config.context) for _ in range(depth)
        )
        self.proj_out = nn.Linear(width, width) if config.linear else nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        h = rearrange(self.norm(x), "B W h w -> B (h w) W")
        h = _project(self.proj_in, h)
        for block in self.transformer_blocks:
            h = block(h, context)
        return in_groups(x, h) + rearrange(_project(self.proj_out, h), "B (h w) W -> B W h w", h=x.shape[2])


def _project(layer: nn.Module, tokens: Tensor) -> Tensor:
    """A linear layer, or a 1 x 1 convolution, which over tokens is one."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    return F.linear(tokens, layer.weight.flatten(1), layer.bias)


class TransformerBlock(nn.Module):
    """x + attention to the grid, + attention to the text, + a gated MLP."""

    def __init__(self, width: int, *, heads: int, context: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = Attention(width, heads=heads, context=width)
        self.attn2 = Attention(width, heads=heads, context=context)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        h = self.norm1(x)
        x = in_groups(x + self.attn1(h, h), context)
        x = x + self.attn2(self.norm2(x), context)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class Attention(nn.Module):
    def __init__(self, width: int, *, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = (nn.Linear(context, width, bias=False) for _ in range(2))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, N, W) reading (B, M, context)."""
        query, key, value = (
            rearrange(one, "B N (H D) -> B H N D", H=self.heads)
            for one in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        out: Tensor = self.to_out[0](rearrange(attend(query, key, value), "B H N D -> B N (H D)"))
        return out


class FeedForward(nn.Module):
    """GEGLU (Shazeer 2020), four times as wide. `net` has the place of a dropout between the layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([GEGLU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x


class GEGLU(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)
