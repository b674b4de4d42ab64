"""The artwork that scenes are made of: emoji from the pack, and coloured shapes that we draw.

The pack is `assets/artwork.zip`, built by scripts/build_artwork.py: pictures of Noto Color Emoji (OFL-1.1)
with names and keywords from Unicode's CLDR. Both kinds are handed out through one interface.
"""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from limner.core import InputError, nearest
from limner.data.scenes.shapes import COLOURS, SHAPES, shape_picture

PACK = Path(__file__).resolve().parents[2] / "assets" / "artwork.zip"
SIDE = 128

Ink = tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """One thing that can stand in a scene; it is equal to itself alone.

    `index` counts the pack's emoji and then the shapes. Things of the same `looks` cannot be told apart.
    `ink` holds the opaque colours as (red, green, blue, percent), `box` the opaque part of the picture at
    128 x 128. Captions speak only of things with `vocabulary`.
    """

    index: int
    name: str
    emoji: str
    group: str
    subgroup: str
    looks: int
    vocabulary: bool
    skin_tone: bool
    names: Mapping[str, str]
    keywords: Mapping[str, tuple[str, ...]]
    box: tuple[int, int, int, int]
    ink: Ink
    shape: str = ""
    colour: str = ""


class Artwork:
    """The pack, opened at the first use and decoded on demand; any number of threads may share it."""

    def __init__(self, path: Path = PACK, *, decoded: int = 2048, resized: int = 4096) -> None:
        """Keep at most `decoded` full pictures (64 KiB each) and `resized` small ones (about 10 KiB each)."""
        self._path = path
        self._lock = threading.Lock()
        self._full = lru_cache(decoded)(self._load)
        self.picture = lru_cache(resized)(self._picture)

    @cached_property
    def things(self) -> tuple[Thing, ...]:
        """All the emoji in Unicode's order, then all the coloured shapes."""
        try:
            rows = json.loads(self._zip.read("index.json"))
        except KeyError:
            raise InputError(f"{self._path}: no index.json in it; build it with scripts/build_artwork.py") from None
        emoji = tuple(_emoji(number, row) for number, row in enumerate(rows))
        pairs = [(shape, colour) for shape in SHAPES for colour in COLOURS]
        return emoji + tuple(_shape(len(emoji) + n, shape, colour) for n, (shape, colour) in enumerate(pairs))

    @cached_property
    def emoji(self) -> tuple[Thing, ...]:
        """The emoji of the captions' vocabulary."""
        return tuple(thing for thing in self.things if thing.vocabulary and not thing.shape)

    @cached_property
    def shapes(self) -> tuple[Thing, ...]:
        return tuple(thing for thing in self.things if thing.shape)

    @cached_property
    def _by_name(self) -> dict[str, Thing]:
        return {thing.name: thing for thing in self.things if thing.vocabulary}

    def named(self, name: str) -> Thing:
        """The thing that captions call `name`; InputError where there is none."""
        found = self._by_name.get(name)
        if found is None:
            raise InputError(f'there is no artwork called "{name}"{nearest(name, list(self._by_name))}')
        return found

    def _picture(self, index: int, size: int) -> Image.Image:
        """Thing `index` as RGBA, `size` x `size`. Shared: do not write on it.

        It is resized with its colours weighted by their alpha, so edges have no dark fringe.
        """
        thing = self.things[index]
        if thing.shape:
            return shape_picture(thing.shape, thing.colour, size)
        return self._full(index).resize((size, size), Image.Resampling.HAMMING).convert("RGBA")

    def _load(self, index: int) -> Image.Image:
        """Premultiplied, 128 x 128."""
        with self._lock, self._zip.open(f"{index:04d}.webp") as member:
            return Image.open(member).convert("RGBA").convert("RGBa")

    @cached_property
    def _zip(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._path)
        except FileNotFoundError:
            raise InputError(
                f"{self._path}: the artwork is not there; build it with scripts/build_artwork.py"
            ) from None
        except zipfile.BadZipFile:
            raise InputError(f"{self._path}: not a zip; build it again with scripts/build_artwork.py") from None


@lru_cache(1)
def artwork() -> Artwork:
    """The pack that is shipped, shared by everybody in this process."""
    return Artwork()


def _emoji(index: int, row: dict[str, Any]) -> Thing:
    return Thing(
        index=index,
        name=row["name"],
        emoji=row["emoji"],
        group=row["group"],
        subgroup=row["subgroup"],
        looks=row["looks"],
        vocabulary=row["vocabulary"],
        skin_tone=row["skin_tone"],
        names=row.get("names", {}),
        keywords={language: tuple(words) for language, words in row.get("keywords", {}).items()},
        box=tuple(row["box"]),
        ink=tuple(tuple(colour) for colour in row["ink"]),
    )


def _shape(index: int, shape: str, colour: str) -> Thing:
    return Thing(
        index=index,
        name=f"{colour} {shape}",
        emoji="",
        group="Shapes",
        subgroup=shape,
        looks=index,
        vocabulary=True,
        skin_tone=False,
        names={},
        keywords={"en": (colour, shape, "shape")},
        box=shape_picture(shape, colour, SIDE).getchannel("A").getbbox() or (0, 0, SIDE, SIDE),
        ink=((*COLOURS[colour], 100),),
        shape=shape,
        colour=colour,
    )
