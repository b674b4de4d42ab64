"""Coloured shapes: eight outlines drawn antialiased in whole numbers, so that they are the same everywhere."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image, ImageDraw

COLOURS = {
    "red": (222, 36, 36),
    "orange": (255, 136, 0),
    "yellow": (255, 214, 10),
    "green": (36, 160, 62),
    "blue": (32, 92, 224),
    "purple": (136, 50, 190),
    "pink": (255, 132, 190),
    "brown": (126, 74, 34),
    "black": (16, 16, 16),
    "white": (255, 255, 255),
    "gray": (132, 132, 132),
}

UNIT = 1024
# Corners on a square of 1024, kept a little off its edge as the emoji are.
POLYGONS: dict[str, tuple[tuple[int, int], ...]] = {
    "square": ((112, 112), (912, 112), (912, 912), (112, 912)),
    "triangle": ((512, 84), (976, 900), (48, 900)),
    "diamond": ((512, 40), (904, 512), (512, 984), (120, 512)),
    "hexagon": ((40, 512), (276, 104), (748, 104), (984, 512), (748, 920), (276, 920)),
    "star": ((512, 40), (643, 376), (990, 390), (724, 614), (809, 952), (512, 761), (215, 952), (300, 614), (34, 390),
             (381, 376)),
}  # fmt: skip
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "hexagon", "ring")


@lru_cache(len(SHAPES))
def outline(shape: str) -> Image.Image:
    """The shape as an (1024, 1024) L mask, not antialiased."""
    mask = Image.new("L", (UNIT, UNIT))
    draw = ImageDraw.Draw(mask)
    if shape in POLYGONS:
        draw.polygon(POLYGONS[shape], fill=255)
    elif shape == "heart":
        _heart(draw)
    else:
        draw.ellipse((64, 64, 959, 959), fill=255)
        if shape == "ring":
            draw.ellipse((264, 264, 759, 759), fill=0)
    return mask


def _heart(draw: ImageDraw.ImageDraw) -> None:
    """Two discs and the part below them, bounded by the tangents from the tip."""
    draw.ellipse((48, 112, 543, 607), fill=255)
    draw.ellipse((480, 112, 975, 607), fill=255)
    draw.polygon(((104, 520), (512, 340), (919, 520), (512, 952)), fill=255)


@lru_cache(len(SHAPES) * 16)
def _alpha(shape: str, size: int) -> Image.Image:
    return outline(shape).resize((size, size), Image.Resampling.BOX)


def shape_picture(shape: str, colour: str, size: int) -> Image.Image:
    """The shape as RGBA, `size` x `size`."""
    picture = Image.new("RGBA", (size, size), (*COLOURS[colour], 0))
    picture.putalpha(_alpha(shape, size))
    return picture
