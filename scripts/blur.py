"""Draw docs/families/regressor.png: what a regressor makes of captions that several pictures fit.

    python scripts/blur.py [--images 6000]

Each row is one caption: three of the pictures that it had in training, the mean of them all, and what a small
regressor, trained on them for a minute, draws.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from limner import families
from limner.core import Example, Request
from limner.data.scenes.artwork import artwork
from limner.pipeline import draw, to_pil
from limner.text.bpe import BPE
from limner.train import loop
from limner.train.recipe import Recipe

ROOT = Path(__file__).parents[1]
CAPTIONS = {"a bird": "animal-bird", "a clock": "time", "a face": "face-smiling", "some fruit": "food-fruit"}
SIZE, SHOWN, SCALE = 32, 3, 3


class Ambiguous:
    """A `core.Source`: emoji of one group in turn, all of them under the group's caption."""

    def __init__(self) -> None:
        pack = artwork()
        self.pictures = {
            caption: [_on_white(pack.picture(thing.index, SIZE)) for thing in pack.emoji if thing.subgroup == group]
            for caption, group in CAPTIONS.items()
        }

    def __getitem__(self, index: int) -> Example:
        caption = list(CAPTIONS)[index % len(CAPTIONS)]
        pictures = self.pictures[caption]
        return Example(pictures[index // len(CAPTIONS) % len(pictures)], caption)


def _on_white(picture: Image.Image) -> torch.Tensor:
    canvas = Image.new("RGB", picture.size, "white")
    canvas.paste(picture, (0, 0), picture)
    return torch.frombuffer(bytearray(canvas.tobytes()), dtype=torch.uint8).reshape(SIZE, SIZE, 3).permute(2, 0, 1)


def trained(source: Ambiguous, images: int) -> families.Family:
    recipe = Recipe.read(ROOT / "recipes" / "regressor-scenes.toml", [f"train.images={images}"])
    recipe = replace(recipe, samples=replace(recipe.samples, prompts=[]))
    config = replace(families.find("regressor").presets["tiny"], width=128, narrowest=32)
    family = families.build("regressor", config, BPE.train(list(CAPTIONS), 300))
    with tempfile.TemporaryDirectory() as folder:
        for _ in loop.fit(family, source, source, recipe, Path(folder) / "run"):
            pass
    return family.eval()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--images", type=int, default=6_000)
    arguments.add_argument("--output", type=Path, default=ROOT / "docs" / "families" / "regressor.png")
    asked = arguments.parse_args()
    source = Ambiguous()
    family = trained(source, asked.images)
    drawn = draw(family, [Request(prompt=caption, seed=0, knobs=family.Knobs()) for caption in CAPTIONS])
    sheet = Image.new("RGB", ((SHOWN + 2) * SIZE * SCALE, len(CAPTIONS) * SIZE * SCALE), "white")
    for row, (pictures, answer) in enumerate(zip(source.pictures.values(), drawn, strict=True)):
        real = torch.stack(pictures).float() / 127.5 - 1
        print(f"{list(CAPTIONS)[row]}: {(answer - real.mean(0)).abs().mean() * 127.5:.1f} of 255 from the mean")
        for column, picture in enumerate([*real[:SHOWN], real.mean(0), answer]):
            tile = to_pil(picture).resize((SIZE * SCALE, SIZE * SCALE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (column * SIZE * SCALE, row * SIZE * SCALE))
    sheet.save(asked.output, optimize=True)


if __name__ == "__main__":
    main()
