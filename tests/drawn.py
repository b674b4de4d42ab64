"""Folders of pictures that carry what they were drawn with, in a moment and without a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from limner.provenance import Settings, save_picture

PROMPTS = ("a red apple on a beach", "two cats", "<b>a kite</b> & ひまわり")


def drawn(folder: Path, prompts: Sequence[str] = PROMPTS, *, seed: int = 0, size: int = 16) -> Path:
    """A folder of noise: a picture for each prompt, with seeds from `seed` on."""
    for number, prompt in enumerate(prompts, start=seed):
        settings = Settings(
            prompt=prompt, negative_prompt="", seed=number, family="painter", knobs={}, model=folder.name,
            model_hash="0" * 64, width=size, height=size, limner="0.1.0", torch="2.13.0",
        )  # fmt: skip
        noise = np.random.default_rng([number, *folder.name.encode()]).integers(0, 256, (size, size, 3), dtype=np.uint8)
        save_picture(Image.fromarray(noise), folder / f"{number}.png", settings)
    return folder
