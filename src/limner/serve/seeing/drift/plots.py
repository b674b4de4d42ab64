"""Two distributions beside one another, as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from limner.serve.seeing.drift.distributions import Measure

WIDTH, HEIGHT, MARGIN, FOOT = 880, 260, 40, 46
REFERENCE, OFLATE, INK, PAPER = "#c7c7d1", "#5457e5", "#333333", "#ffffff"


def bars(measure: Measure, reference: Sequence[int], oflate: Sequence[int]) -> Image.Image:
    """The shares in each bin: of the reference in grey, of late in colour."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    shares = [[count / max(1, sum(counts)) for count in counts] for counts in (reference, oflate)]
    highest = max(max(one) for one in shares) or 1.0
    labels, step = measure.labels(), (WIDTH - 2 * MARGIN) / len(measure.labels())
    ground, tall = HEIGHT - FOOT, HEIGHT - FOOT - MARGIN
    for number, label in enumerate(labels):
        left = MARGIN + number * step
        for place, (colour, one) in enumerate(zip((REFERENCE, OFLATE), shares, strict=True)):
            x = left + step * (0.1 + 0.4 * place)
            draw.rectangle((x, ground - tall * one[number] / highest, x + 0.4 * step, ground), fill=colour)
        draw.text((left + step / 2, ground + 6), label, fill=INK, font=font, anchor="ma")
    draw.line((MARGIN, ground, WIDTH - MARGIN, ground), fill=INK)
    draw.text((MARGIN, 8), f"{measure.title}: share of each", fill=INK, font=font)
    _legend(draw, font, highest)
    return image


def _legend(draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, highest: float) -> None:
    for number, (colour, label) in enumerate(((REFERENCE, "training"), (OFLATE, "of late"))):
        x = WIDTH - MARGIN - 190 + 95 * number
        draw.rectangle((x, 9, x + 10, 19), fill=colour)
        draw.text((x + 15, 8), label, fill=INK, font=font)
    draw.text((4, MARGIN - 4), f"{highest:.0%}", fill=INK, font=font)
