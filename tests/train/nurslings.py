"""Every family of the table, small and always with the same first weights, and scenes for it to learn from."""

from __future__ import annotations

from functools import lru_cache

import torch

from limner import families
from limner.core import Family, Source
from limner.data.scenes import Scenes
from limner.text.bpe import BPE
from tests.train.toys import Plain

TOY = "plain"
STAGED = {
    "dalle": {"codec": (0.0, 0.4), "tokens": (0.4, 1.0)},
    "stable_diffusion": {"vae": (0.0, 0.4), "critic": (0.2, 0.4), "text": (0.2, 0.6), "denoiser": (0.4, 1.0)},
}
"""Families whose steps are trained one after the other: the runs are stopped in the first stage and end in the last."""


@lru_cache(1)
def tokenizer() -> BPE:
    scenes = Scenes("train")
    return BPE.train((scenes.truth(index).caption for index in range(200)), 300)


def born(name: str) -> Family:
    if name == TOY:
        return Plain()
    torch.manual_seed(0)
    family: Family = families.find(name)(families.find(name).presets["tiny"], tokenizer())
    return family


def food(family: Family, split: str) -> Source:
    """Scenes of the family's size: to learn from ("train") or to be validated on ("seen")."""
    return Scenes(split, size=family.config.image_size)
