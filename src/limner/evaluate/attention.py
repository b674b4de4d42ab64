"""A picture of attention over words: a row for each word, a column for each step, and the drawing above them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from limner.core import Tokenizer, check

LINE, TEXT, GAP = 18, 13, 6  # pixels: height of a word's row, size of its letters, space around
INK, PAPER = (31, 60, 122), (255, 255, 255)
START = "(start)"  # what a text has before its first word


def by_word(attention: Tensor, prompt: str, tokenizer: Tokenizer, *, length: int) -> tuple[list[str], Tensor]:
    """The words of `prompt`, START first, and (T, words) of what (T, L) shares say: a word has that of all its tokens.

    `length` is where the text encoder cut the prompt; what was cut away is not among the words.
    """
    words = prompt.split()
    heads = [" ".join(words[:count]) for count in range(len(words) + 1)]
    ends = tokenizer.encode(heads, length)[1].sum(dim=1).tolist()  # how many tokens the text has after each word
    check(ends[-1] == attention.shape[1], f"the prompt has {ends[-1]} tokens and the attention {attention.shape[1]}")
    starts = [0, *ends[:-1]]
    kept = [place for place in range(len(ends)) if ends[place] > starts[place]]
    shares = [attention[:, starts[place] : ends[place]].sum(dim=1) for place in kept]
    return [[START, *words][place] for place in kept], torch.stack(shares, dim=1)


def attention_picture(words: Sequence[str], shares: Tensor, frames: Sequence[Image.Image]) -> Image.Image:
    """`shares` (T, words) as a map, darker where more, under as many `frames` of one size as fit, evenly chosen."""
    steps, font = len(shares), ImageFont.load_default(TEXT)
    side = frames[0].width
    margin = GAP + max(round(font.getlength(word)) for word in words) + GAP
    shown = evenly(steps, most=8)
    width = max(len(shown) * (side + GAP), steps * LINE)
    page = Image.new("RGB", (margin + width + GAP, 3 * GAP + side + LINE * (len(words) + 1)), PAPER)
    draw = ImageDraw.Draw(page)
    edges = [margin + round(width * step / steps) for step in range(steps + 1)]
    for step in shown:
        middle = (edges[step] + edges[step + 1]) // 2
        left = min(max(middle - side // 2, margin), margin + width - side)
        page.paste(frames[step].convert("RGB"), (left, GAP))
        draw.text((middle, 2 * GAP + side), str(step + 1), fill=INK, font=font, anchor="ma")
    top = 2 * GAP + side + LINE
    for row, word in enumerate(words):
        draw.text((margin - GAP, top + LINE * row + LINE // 2), word, fill=INK, font=font, anchor="rm")
        for step, share in enumerate(shares[:, row].tolist()):
            box = (edges[step], top + LINE * row, edges[step + 1] - 2, top + LINE * (row + 1) - 2)
            draw.rectangle(box, fill=_shade(share))
    return page


def evenly(count: int, *, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, the last among them."""
    chosen = min(count, most)
    return [round((place + 1) * count / chosen) - 1 for place in range(chosen)]


def _shade(share: float) -> tuple[int, int, int]:
    red, green, blue = (round(paper + share * (ink - paper)) for ink, paper in zip(INK, PAPER, strict=True))
    return red, green, blue
