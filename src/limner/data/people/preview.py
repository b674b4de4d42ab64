"""A contact sheet: pictures as the model will see them, each with its caption below it."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from limner.core import InputError
from limner.data.people import formats, pictures
from limner.data.people.formats.listing import Item
from limner.data.people.source import permutation

MOST = 400
LINES = 4
TEXT = 13
GAP = 8
LEAST = 128
"""A tile's width in pixels, so that a caption has room under the pictures of a very small model."""

FOLDERS = (
    "/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts",
    "/Library/Fonts", "/System/Library/Fonts", "~/Library/Fonts", "C:/Windows/Fonts",
)  # fmt: skip
FONTS = ("DejaVuSans.", "NotoSans-Regular.", "Arial Unicode.", "NotoSans", "NotoNaskh", "unifont.", "arialuni.")
"""Beginnings of file names, best first."""


def preview(path: str | Path, output: str | Path, *, size: int, count: int = 24) -> int:
    """Write the sheet of at most `count` pictures of `path` to `output`; says how many it shows."""
    if not 1 <= count <= MOST:
        raise InputError(f"a sheet of {count} pictures: ask for 1 to {MOST}")
    if count * size * size > pictures.MAX_PIXELS:
        raise InputError(f"a sheet of {count} pictures of {size} x {size} is too large; ask for fewer or smaller ones")
    output = Path(output)
    kind = Image.registered_extensions().get(output.suffix.lower())
    if kind not in ("PNG", "JPEG", "WEBP"):
        raise InputError(f"{output}: a sheet is written as .png, .jpg or .webp")
    listing = formats.find(path)
    tiles = list(_readable(listing.items, size, count))
    if not tiles:
        raise InputError(f"{path}: no picture can be read; run: limner data check {path}")
    _write(sheet(tiles, size), output, kind)
    return len(tiles)


def sheet(tiles: Sequence[tuple[Image.Image, str]], size: int, columns: int | None = None) -> Image.Image:
    """Pictures of `size` x `size` in rows, about as wide as high unless it is said, on a light ground.

    Small ones are enlarged as they are, pixel by pixel.
    """
    times = max(1, LEAST // size)
    size, wide = size * times, max(size * times, LEAST)
    high = size + LINES * (TEXT + 3) + GAP
    columns = columns or max(1, min(len(tiles), round((len(tiles) * high / wide) ** 0.5 * 1.2)))
    rows = -(-len(tiles) // columns)
    page = Image.new("RGB", (GAP + columns * (wide + GAP), GAP + rows * (high + GAP)), "#f4f4f4")
    draw = ImageDraw.Draw(page)
    for number, (image, caption) in enumerate(tiles):
        left = GAP + number % columns * (wide + GAP)
        top = GAP + number // columns * (high + GAP)
        page.paste(image.resize((size, size), Image.Resampling.NEAREST) if times > 1 else image, (left, top))
        for line, text in enumerate(wrapped(caption or "(no caption)", wide)):
            _write_line(draw, left, top + size + 4 + line * (TEXT + 3), text, "#202020" if caption else "#a06000")
    return page


def wrapped(text: str, width: int) -> list[str]:
    """At most LINES lines that fit `width` pixels; words break where one alone is too long."""
    lines = [""]
    most = LINES * width // 2  # letters that could ever be seen
    for piece in _pieces(" ".join(text[: 2 * most].split())[:most], width):
        joined = f"{lines[-1]}{piece}"
        if _length(joined.rstrip()) <= width:
            lines[-1] = joined
        else:
            lines.append(piece.lstrip())
    lines = [line.rstrip() for line in lines if line]
    if len(lines) <= LINES:
        return lines
    last = lines[LINES - 1]
    while last and _length(f"{last}…") > width:
        last = last[:-1]
    return [*lines[: LINES - 1], f"{last}…"]


def _pieces(text: str, width: int) -> Iterator[str]:
    for word in text.split(" "):
        while _length(word) > width and len(word) > 1:
            fits = bisect_right(range(1, len(word)), width, key=lambda end: ceil(_length(word[:end])))
            yield word[: max(1, fits)]
            word = word[max(1, fits) :]
        yield f"{word} "


def _readable(items: Sequence[Item], size: int, count: int) -> Iterator[tuple[Image.Image, str]]:
    for number in permutation(len(items), 0, 0):
        if count == 0:
            return
        item = items[int(number)]
        try:
            image = pictures.fit(pictures.read(item.read(), short=2 * size, box=item.box), size)
        except pictures.UnreadableError:
            continue
        count -= 1
        yield image, " / ".join(caption.text for caption in item.captions)


def _write(page: Image.Image, output: Path, kind: str) -> None:
    """Aside first: nobody sees half a sheet."""
    aside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        page.save(aside, kind)
        aside.replace(output)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise InputError(f"{output} cannot be written: {error.strerror or error}") from None


def _write_line(draw: ImageDraw.ImageDraw, left: float, top: float, text: str, colour: str) -> None:
    for run, font in _runs(text):
        draw.text((left, top), run, font=font, fill=colour)
        left += font.getlength(run)


def _length(text: str) -> float:
    return sum(font.getlength(run) for run, font in _runs(text))


def _runs(text: str) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
    """Neighbouring characters that one font can draw; what none can is left to the first, as its empty box."""
    run, font = "", _fonts()[0]
    for character in text:
        found = font if character == " " else _font_for(character)
        if found is not font and run:
            yield run, font
            run = ""
        run, font = run + character, found
    if run:
        yield run, font


@lru_cache(maxsize=4096)
def _font_for(character: str) -> ImageFont.FreeTypeFont:
    return next((font for font in _fonts() if _draws(font, character)), _fonts()[0])


def _draws(font: ImageFont.FreeTypeFont, character: str) -> bool:
    """Pillow does not say what a font covers: a missing character is drawn as an unassigned one is."""
    missing, drawn = font.getmask("\U0010fffe"), font.getmask(character)
    return (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))


@lru_cache(maxsize=1)
def _fonts() -> tuple[ImageFont.FreeTypeFont, ...]:
    """DejaVu and Noto where the system has them, and Pillow's own at the end."""
    files = [
        Path(folder, name)
        for root in FOLDERS
        for folder, _, names in os.walk(os.path.expanduser(root))
        for name in names
        if name.endswith((".ttf", ".otf", ".ttc"))
    ]
    found: list[ImageFont.FreeTypeFont] = []
    for beginning in FONTS:
        for file in sorted(file for file in files if file.name.startswith(beginning) and _is_upright(file.name)):
            try:
                found.append(ImageFont.truetype(str(file), TEXT))
            except OSError:  # an emoji font without outlines, say
                continue
    last = ImageFont.load_default(TEXT)
    assert isinstance(last, ImageFont.FreeTypeFont), "Pillow's wheels bring FreeType"
    return (*found, last)


def _is_upright(name: str) -> bool:
    style = name.rpartition(".")[0].partition("-")[2]
    return style in ("", "Regular") or (name.endswith(".ttc") and style == "Regular")
