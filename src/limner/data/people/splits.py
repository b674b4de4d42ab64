"""Which picture trains and which validates: as the folder says, else by what the files hold."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from limner.core import InputError
from limner.data.people.formats.listing import Item

SHARE = 0.05
MOST = 1000
PIECE = 1 << 14
PIECES = 4


def divide(items: Sequence[Item], prints: Sequence[int] | None = None) -> list[str]:
    """The split of each item: "train", "validation" or "test".

    Where the folder names no validation split, about 5 % of the training pictures (at least one, at
    most 1000) are held out by their fingerprints: no seed changes it, a new picture hardly moves the
    others, and equal files land on the same side. `prints` are the fingerprints where they are known.
    """
    sides = [item.split or "train" for item in items]
    if "validation" in sides:
        return sides
    places = [place for place, side in enumerate(sides) if side == "train"]
    if not places:
        raise InputError("the folder names splits, and none of them is train/; add train/ with the pictures to learn")
    if prints is None:
        with ThreadPoolExecutor(8) as pool:
            prints = list(pool.map(fingerprint, items))
    for place in _held_out(places, prints):
        sides[place] = "validation"
    return sides


def _held_out(places: Sequence[int], prints: Sequence[int]) -> list[int]:
    groups: dict[int, list[int]] = defaultdict(list)
    for place in places:
        groups[prints[place]].append(place)
    if len(groups) < 2:
        raise InputError(
            "all the pictures are one and the same; two different ones are needed, one of them to validate"
        )
    goal = min(max(1, round(SHARE * len(places))), MOST)
    chosen: list[int] = []
    for _, group in sorted(groups.items()):
        if len(chosen) + len(group) <= goal:
            chosen += group
    return chosen or min(groups.items(), key=lambda pair: (len(pair[1]), pair[0]))[1]


def fingerprint(item: Item) -> int:
    """64 bits, equal for equal files. Of a large file the length and four pieces are enough to tell."""
    try:
        with open(item.path, "rb") as file:
            length = os.fstat(file.fileno()).st_size if item.length is None else item.length
            return fingerprint_of(file, item.start, length)
    except (OSError, ValueError):  # found broken, and said so, when the picture is read
        return _number(hashlib.blake2b(item.name.encode("utf-8", "replace"), digest_size=8))


def fingerprint_of(file: BinaryIO, start: int, length: int) -> int:
    summed = hashlib.blake2b(str(length).encode(), digest_size=8)
    whole = length <= PIECE * PIECES
    for number in range(PIECES):
        place = PIECE * number if whole else (length - PIECE) * number // (PIECES - 1)
        file.seek(start + place)
        summed.update(file.read(max(0, min(PIECE, length - place))))
    return _number(summed)


def _number(summed: hashlib.blake2b) -> int:
    return int.from_bytes(summed.digest(), "big")
