"""Draw docs/gallery.png: one picture a prompt by the shipped weights, the first seed, nothing chosen.

python scripts/gallery.py [--model flow-scenes]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from limner.data.people.preview import sheet
from limner.pipeline import Pipeline

PROMPTS = (
    "a stop sign is flying in blue skies",
    "a red apple",
    "a pizza",
    "a dog face on a beach",
    "a rocket in the night sky",
    "an octopus on a pink background",
    "a cat face to the left of a car",
    "three bananas",
    "a blue star on a yellow background",
    "a red circle above a green square",
    "a flag of Japan",
    "two purple hearts on a white background",
)
SCALE = 2


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", default="flow-scenes")
    arguments.add_argument("--output", type=Path, default=Path("docs/gallery.png"))
    asked = arguments.parse_args()
    pictures = Pipeline.from_pretrained(asked.model)(PROMPTS, seed=0).images
    size = pictures[0].width * SCALE
    tiles = [(one.resize((size, size), Image.Resampling.LANCZOS), prompt) for one, prompt in zip(pictures, PROMPTS)]
    sheet(tiles, size).save(asked.output, optimize=True)


if __name__ == "__main__":
    main()
