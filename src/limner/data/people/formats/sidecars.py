"""Pictures with a text file of the same stem beside them, one caption a line."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

from limner.core import InputError
from limner.data.people.formats.listing import Caption, Fault, Item, Listing, decoded, kept, named_split
from limner.data.people.pictures import FORMATS, SUFFIXES

TEXTS = (".txt", ".caption")
FOREIGN = frozenset({".avif", ".heic", ".heif", ".jxl", ".jp2", ".psd", ".svg", ".tga", ".ico", ".pdf", ".eps"})


def pictures(files: Sequence[str]) -> list[str]:
    return [name for name in files if _suffix(name) in SUFFIXES]


def texts(files: Sequence[str]) -> dict[str, str]:
    """The captions by the picture's name without its suffix; a .txt counts more than a .caption."""
    found: dict[str, str] = {}
    for kind in reversed(TEXTS):
        found.update((posixpath.splitext(name)[0], name) for name in files if _suffix(name) == kind)
    return found


def read(root: Path, files: Sequence[str]) -> Listing:
    captions = texts(files)
    items: list[Item] = []
    faults = [
        Fault(name, f"not a format that is read; convert it to one of {FORMATS}")
        for name in files
        if _suffix(name) in FOREIGN
    ]
    for name in pictures(files):
        text = captions.get(posixpath.splitext(name)[0])
        said: list[Caption] = []
        try:
            said = [] if text is None else lines(root / text, text)
        except InputError as error:
            faults.append(Fault(text or name, str(error)))
        items.append(Item(name, str(root / name), kept(said), named_split(name)))
    stems = {posixpath.splitext(item.name)[0] for item in items}
    unused = [name for stem, name in captions.items() if stem not in stems]
    layout = "pictures with captions in text files beside them"
    return Listing(str(root), layout, tuple(items), tuple(faults), tuple(sorted(unused)))


def lines(path: Path, name: str) -> list[Caption]:
    """A caption a line; InputError where `name` cannot be read as text."""
    try:
        texts = decoded(path.read_bytes(), name).splitlines() or [""]
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from None
    return [Caption(line, f"{name} line {number}") for number, line in enumerate(texts, 1)]


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()
