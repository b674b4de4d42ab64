"""What a reader of a format finds: pictures by where their bytes lie, with their captions."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from limner.core import InputError
from limner.data.people.pictures import Box, UnreadableError

MAX_FILE = 1 << 30
SPLITS = {
    "train": "train", "training": "train",
    "validation": "validation", "val": "validation", "valid": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip


class Caption(NamedTuple):
    text: str
    place: str
    """The file, and the line where there is one."""


class Fault(NamedTuple):
    """An entry that cannot be used: where it is, and what is wrong with it."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Item:
    """One captioned picture. Its bytes are all of the file `path`, or `length` of them from `start` on.

    `captions` is empty where there is none, and holds one empty text where the caption is empty. `label` is the
    class where the data have classes, and `box` what of the upright picture is meant, where they say so.
    """

    name: str
    path: str
    captions: tuple[Caption, ...] = ()
    split: str | None = None
    start: int = 0
    length: int | None = None
    label: str = ""
    box: Box | None = None

    def read(self) -> bytes:
        """Raises UnreadableError, without the name."""
        try:
            with open(self.path, "rb") as file:
                length = os.fstat(file.fileno()).st_size if self.length is None else self.length
                if length > MAX_FILE:
                    raise UnreadableError(f"{length:,} bytes are more than the {MAX_FILE:,} that one picture may have")
                file.seek(self.start)
                return file.read(length)
        except FileNotFoundError:
            raise UnreadableError("there is no such file") from None
        except (OSError, ValueError) as error:  # ValueError: a name with a null character in it
            raise UnreadableError(getattr(error, "strerror", None) or str(error)) from None


@dataclass(frozen=True, slots=True)
class Listing:
    """`layout` says in words what was recognised; `unused` are pictures or captions that belong to nothing."""

    root: str
    layout: str
    items: tuple[Item, ...]
    faults: tuple[Fault, ...] = ()
    unused: tuple[str, ...] = ()


def tree(root: Path) -> list[str]:
    """All files below `root` as relative names, sorted; hidden ones left out, links to folders followed once."""
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    waiting = deque([root])
    while waiting:
        folder = waiting.popleft()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if entry.is_dir():
                waiting.append(folder / entry.name)
            else:
                found.append(os.path.relpath(entry.path, root).replace(os.sep, "/"))
    return sorted(found)


def named_split(name: str) -> str | None:
    """The split that the first folder of a relative name stands for."""
    first, slash, _ = name.partition("/")
    return SPLITS.get(first.lower()) if slash else None


def shown(name: str) -> str:
    """A file name that can be printed, also where it is not UTF-8."""
    return name.encode("utf-8", "replace").decode("utf-8")


def clean(text: str) -> str:
    """A caption without surrounding blanks and without the lone surrogates that JSON can smuggle in."""
    return text.encode("utf-8", "replace").decode("utf-8").strip()


def kept(captions: Iterable[Caption]) -> tuple[Caption, ...]:
    """The captions that say something, or one of the empty ones, or nothing where there are none."""
    everything = [Caption(clean(text), place) for text, place in captions]
    return tuple(one for one in everything if one.text) or tuple(everything[:1])


def decoded(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{place} is not UTF-8 at byte {error.start}; save it as UTF-8") from None
