"""Stable Diffusions of a few thousand parameters, of all kinds that there are, and a CLIP's tokens as few."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from tokenizers import pre_tokenizers
from torch import Tensor, nn

from limner.codecs.vae import VAEConfig
from limner.families.stable_diffusion import SIX, Config, StableDiffusion
from limner.nn.unet import UNetConfig
from limner.text.clip import ClipTextConfig
from limner.text.conditioning import ConditionerConfig, TowerConfig
from limner.text.ended import END, START, Templated

MERGES = ["r e", "re d</w>", "b l", "u e</w>", "bl ue</w>"]


@cache
def words() -> Templated:
    """As CLIP's: whole words end in </w>, and the end token is the largest id."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merged = [pair.replace(" ", "") for pair in MERGES]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *merged, START, END]
    return Templated.from_vocabulary({token: number for number, token in enumerate(tokens)}, MERGES)


VAE_SMALL = VAEConfig(widths=(32, 32), blocks=1)
CLIP_L = TowerConfig(ClipTextConfig(64, 2, 1, 128, 16), "quick_gelu", pad=words().end)
SD1 = Config(
    128, UNetConfig(widths=(32, 64), blocks=1, depths=(1, 0), heads=(8, 8), context=64), VAE_SMALL,
    ConditionerConfig((CLIP_L,)),
)  # fmt: skip
SD2 = Config(
    128, UNetConfig(widths=(64, 128), blocks=1, depths=(1, 0), heads=(1, 2), context=64, linear=True), VAE_SMALL,
    ConditionerConfig((TowerConfig(ClipTextConfig(64, 3, 1, 128, 16)),)), prediction="v_prediction",
)  # fmt: skip
SDXL = Config(
    128,
    UNetConfig(
        widths=(64, 128), blocks=1, depths=(0, 2), middle=2, heads=(1, 2), context=192, linear=True, added=128 + SIX
    ),
    replace(VAE_SMALL, scale=0.13025),
    ConditionerConfig(
        (
            replace(CLIP_L, layer=2, norm=False),
            TowerConfig(ClipTextConfig(128, 3, 2, 96, 16), layer=2, norm=False, out=128),
        ),
        zeros=True,
    ),
)  # fmt: skip
KINDS = {
    "sd1": SD1, "sd2": SD2, "sdxl": SDXL, "inpainting": replace(SD1, unet=replace(SD1.unet, channels_in=9)),
}  # fmt: skip
TINY = Config(
    64, UNetConfig(widths=(8, 16), blocks=1, depths=(1, 0), heads=(2, 2), context=8, groups=4),
    VAEConfig(widths=(8, 8), blocks=1, groups=4),
    ConditionerConfig((TowerConfig(ClipTextConfig(8, 1, 2, 16, 16), "quick_gelu", pad=words().end),)),
)  # fmt: skip


def toy(config: Config) -> StableDiffusion:
    """Every parameter at random: what begins as 0 or 1 would hide a tensor that is in another's place."""
    made = StableDiffusion(config, words())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in made.parameters():
            one.copy_(torch.randn(one.shape, generator=generator) * 0.05)
    return made.eval()


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether every tensor has the same bytes."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(identical(ours[name], theirs[name]) for name in ours)


def identical(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
