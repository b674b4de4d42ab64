"""Grounds: plain colours, gradients and eight named places, each drawn alone from its parameters in whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from limner.data.dice import Dice
from limner.data.scenes.shapes import COLOURS
from limner.data.scenes.truth import Ground

SIDE = 128
VARIANTS = 8
Colour = tuple[int, int, int]

SHADES: dict[str, Colour] = {
    **COLOURS,
    "light blue": (160, 208, 255),
    "light green": (168, 228, 160),
    "light yellow": (255, 244, 170),
    "light purple": (208, 176, 240),
    "light gray": (206, 206, 206),
    "dark blue": (16, 32, 104),
    "dark green": (12, 80, 36),
    "dark red": (120, 14, 20),
    "dark purple": (66, 18, 104),
    "dark gray": (66, 66, 66),
}
# The colours that fill most of a named ground: things must stand out from them.
MAIN: dict[str, tuple[Colour, ...]] = {
    "sky": ((120, 188, 248), (176, 216, 255)),
    "night": ((10, 14, 48), (34, 36, 92)),
    "meadow": ((92, 176, 66),),
    "beach": ((240, 214, 150), (60, 160, 220)),
    "snow": ((244, 248, 255), (196, 216, 236)),
    "desert": ((232, 178, 98), (250, 214, 150)),
    "sea": ((24, 112, 186), (40, 140, 210)),
    "sunset": ((250, 120, 80), (190, 70, 120)),
}
NAMED = tuple(MAIN)


def draw_ground(ground: Ground) -> Image.Image:
    """The ground alone, 128 x 128 RGB. Shared: copy before writing on it."""
    return _drawn(ground.name, ground.colours, ground.direction, ground.variant)


def main_colours(ground: Ground) -> tuple[Colour, ...]:
    return MAIN[ground.name] if ground.name in MAIN else tuple(SHADES[colour] for colour in ground.colours)


@lru_cache(1024)
def _drawn(name: str, colours: tuple[str, ...], direction: str, variant: int) -> Image.Image:
    if name == "plain":
        return Image.new("RGB", (SIDE, SIDE), SHADES[colours[0]])
    if name == "gradient":
        down = fade(SHADES[colours[0]], SHADES[colours[1]], SIDE)
        return down if direction == "down" else down.transpose(Image.Transpose.TRANSPOSE)
    return PAINTERS[name](Dice("ground", name, variant))


def fade(first: Colour, last: Colour, height: int) -> Image.Image:
    """From `first` at the top to `last` at the bottom, (height, 128)."""
    span = max(height - 1, 1)
    column = Image.new("RGB", (1, height))
    steps = [tuple((a * (span - y) + b * y + span // 2) // span for a, b in zip(first, last)) for y in range(height)]
    column.putdata(steps)
    return column.resize((SIDE, height), Image.Resampling.NEAREST)


def stacked(*bands: tuple[int, Colour, Colour]) -> Image.Image:
    """Bands from top to bottom, each faded: (height, first colour, last colour)."""
    canvas, y = Image.new("RGB", (SIDE, SIDE)), 0
    for height, first, last in bands:
        canvas.paste(fade(first, last, height), (0, y))
        y += height
    return canvas


def _sky(dice: Dice) -> Image.Image:
    canvas = stacked((SIDE, (96, 172, 244), (190, 224, 255)))
    mask = Image.new("L", (SIDE, SIDE))
    for x, y in ((24, 20), (98, 30), (40, 108), (108, 98)):
        _cloud(mask, dice, x + dice.jitter(12), y + dice.jitter(8))
    mask = mask.filter(ImageFilter.BoxBlur(2)).filter(ImageFilter.BoxBlur(2))
    canvas.paste((255, 255, 255), (0, 0), mask)
    return canvas


def _cloud(mask: Image.Image, dice: Dice, x: int, y: int) -> None:
    draw = ImageDraw.Draw(mask)
    for shift, radius in ((-12, 6), (-3, 9), (7, 8), (15, 5)):
        r = radius + dice.below(2)
        draw.ellipse((x + shift - r, y - r, x + shift + r, y + r - radius // 3), fill=236)


def _night(dice: Dice) -> Image.Image:
    canvas = stacked((SIDE, (8, 10, 40), (36, 40, 100)))
    for number in range(56):
        x, y = 1 + dice.below(SIDE - 2), 1 + dice.below(SIDE - 2)
        canvas.putpixel((x, y), (255, 255, 230))
        if number < 22:
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                canvas.putpixel((x + dx, y + dy), (170, 172, 190))
    return canvas


def _meadow(dice: Dice) -> Image.Image:
    canvas = stacked((44, (132, 200, 250), (200, 232, 255)), (84, (116, 196, 80), (70, 152, 52)))
    draw = ImageDraw.Draw(canvas)
    for _ in range(150):
        x, y = dice.below(SIDE), 48 + dice.below(80)
        shade = dice.pick(((60, 140, 44), (136, 212, 96), (84, 168, 60)))
        draw.line((x, y, x + dice.jitter(1), y - 3 - dice.below(3)), fill=shade)
    for _ in range(12):
        x, y = 3 + dice.below(SIDE - 6), 54 + dice.below(70)
        draw.rectangle((x, y, x + 1, y + 1), fill=dice.pick(((255, 255, 255), (255, 224, 70), (250, 150, 190))))
    return canvas


def _beach(dice: Dice) -> Image.Image:
    sky, sea = (38, (140, 206, 252), (206, 236, 255)), (34, (38, 132, 204), (84, 190, 226))
    canvas = stacked(sky, sea, (56, (248, 226, 168), (232, 200, 132)))
    draw = ImageDraw.Draw(canvas)
    for x in range(0, SIDE, 16):
        y = 70 + dice.jitter(1)
        draw.ellipse((x - 2, y, x + 18, y + 5), fill=(255, 255, 255))
        draw.ellipse((x - 2, y + 2, x + 18, y + 8), fill=(248, 226, 168))
    for _ in range(70):
        canvas.putpixel((dice.below(SIDE), 80 + dice.below(48)), dice.pick(((216, 182, 116), (255, 240, 196))))
    return canvas


def _snow(dice: Dice) -> Image.Image:
    canvas = stacked((56, (164, 192, 222), (206, 224, 242)), (72, (255, 255, 255), (226, 236, 250)))
    draw = ImageDraw.Draw(canvas)
    draw.ellipse((-40, 46 + dice.jitter(2), 80, 96), fill=(248, 251, 255))
    draw.ellipse((50, 50 + dice.jitter(2), 180, 100), fill=(240, 246, 254))
    for _ in range(40):
        x, y = dice.below(SIDE - 1), dice.below(SIDE - 1)
        draw.rectangle((x, y, x + 1, y + 1), fill=(255, 255, 255))
    return canvas


def _desert(dice: Dice) -> Image.Image:
    canvas = stacked((52, (150, 204, 240), (252, 230, 186)), (76, (240, 194, 116), (218, 156, 78)))
    draw = ImageDraw.Draw(canvas)
    draw.ellipse((-50 + dice.jitter(8), 44, 90, 110), fill=(236, 186, 106))
    draw.ellipse((40 + dice.jitter(8), 56, 190, 130), fill=(226, 168, 88))
    draw.ellipse((-60, 84 + dice.jitter(3), 120, 190), fill=(242, 198, 122))
    return canvas


def _sea(dice: Dice) -> Image.Image:
    canvas = stacked((30, (150, 208, 250), (214, 238, 255)), (98, (44, 146, 212), (14, 84, 158)))
    draw = ImageDraw.Draw(canvas)
    for row in range(38, SIDE, 9):
        for _ in range(3):
            x = dice.below(SIDE)
            draw.arc((x - 9, row - 3, x + 9, row + 5), 20, 160, fill=(122, 196, 236))
    return canvas


def _sunset(dice: Dice) -> Image.Image:
    canvas = stacked(
        (50, (92, 52, 130), (220, 84, 110)), (46, (224, 88, 106), (255, 186, 84)), (32, (120, 60, 96), (60, 34, 80))
    )
    x = 64 + dice.jitter(30)
    disc = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(disc).ellipse((x - 16, 78, x + 16, 110), fill=255)
    disc = ImageChops.multiply(disc, _above(96))
    canvas.paste((255, 226, 130), (0, 0), disc)
    return canvas


def _above(row: int) -> Image.Image:
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (0, 0, SIDE, row))
    return mask


PAINTERS: dict[str, Callable[[Dice], Image.Image]] = {
    "sky": _sky,
    "night": _night,
    "meadow": _meadow,
    "beach": _beach,
    "snow": _snow,
    "desert": _desert,
    "sea": _sea,
    "sunset": _sunset,
}
