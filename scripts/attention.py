"""Draw docs/families/aligndraw-attention.png: which word an alignDRAW attends to at which glimpse, and its canvas then.

python scripts/attention.py runs/aligndraw-digits ["the digit three is on the left of the digit eight." ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image

from limner import families
from limner.core import Request
from limner.evaluate.attention import attention_picture, by_word
from limner.families.aligndraw import AlignDRAW, AlignDRAWSketch
from limner.pipeline import find_model, to_pil

PROMPTS = (
    "the digit three is on the left of the digit eight.",
    "the digit five is at the top right of the image.",
)
SIDE, GAP = 90, 12


def explained(family: AlignDRAW, prompt: str, seed: int) -> Image.Image:
    [sketch] = family.begin([Request(prompt=prompt, seed=seed, knobs=family.Knobs())])
    assert isinstance(sketch, AlignDRAWSketch)
    frames = []
    while not sketch.done:
        family.advance([sketch])
        assert sketch.estimate is not None
        frames.append(to_pil(sketch.estimate).resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    length = family.config.text.length
    words, shares = by_word(torch.stack(sketch.attention), prompt, family.tokenizer, length=length)
    return attention_picture(words, shares, frames)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("model")
    arguments.add_argument("prompts", nargs="*", default=PROMPTS)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--output", type=Path, default=Path("docs/families/aligndraw-attention.png"))
    asked = arguments.parse_args()
    family = families.load(find_model(asked.model))
    if not isinstance(family, AlignDRAW):
        arguments.error(f"{asked.model} is a {families.name_of(family)}: give a model of the family aligndraw")
    pages = [explained(family, prompt, asked.seed) for prompt in asked.prompts]
    height = sum(page.height for page in pages) + GAP * (len(pages) - 1)
    sheet = Image.new("RGB", (max(page.width for page in pages), height), "white")
    top = 0
    for page in pages:
        sheet.paste(page, (0, top))
        top += page.height + GAP
    sheet.save(asked.output, optimize=True)


if __name__ == "__main__":
    main()
