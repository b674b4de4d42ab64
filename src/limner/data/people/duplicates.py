"""Equal and nearly equal pictures: a 64-bit perceptual hash to find them, a thumbnail to make sure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from PIL import Image

DISTANCE = 4
"""Bits of 64 in which the hashes of near duplicates may differ."""
CHANGE = 16
"""Levels of 255 by which any colour of two 8 x 8 thumbnails may differ."""
PLAIN = 1.0
"""Levels of 255: where no wave is stronger there is no structure to hash."""
CHUNKS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))
"""Hashes that differ in at most 4 bits agree in at least one of 5 chunks: (shift, width)."""


def perceptual_hash(image: Image.Image) -> int:
    """Signs of 8 x 8 low cosine frequencies against their median, without the mean; of a plain picture its colour.

    The scheme known as pHash. What is equal under it may still differ in colour: `near` looks again.
    """
    grey = image.convert("L").resize((32, 32), Image.Resampling.BOX, reducing_gap=2.0)
    basis = np.cos(np.pi / 32 * np.outer(np.arange(1, 9), np.arange(32) + 0.5))
    waves = basis @ np.asarray(grey, dtype=np.float64) @ basis.T / 256  # amplitudes in levels
    if np.abs(waves).max() < PLAIN:
        red, green, blue = (value >> 4 for value in thumbnail(image).reshape(-1, 3).mean(0).astype(int).tolist())
        return int((red << 8 | green << 4 | blue) * 0x9E3779B97F4A7C15 % (1 << 64))
    bits = (waves > np.median(waves)).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def thumbnail(image: Image.Image) -> np.ndarray:
    """(192,) uint8: the mean colours of 8 x 8 fields."""
    small = image.resize((8, 8), Image.Resampling.BOX, reducing_gap=4.0)
    return np.asarray(small).reshape(-1)


def equal(keys: Sequence[Hashable]) -> list[list[int]]:
    """Groups of two or more places that hold the same key, in order."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        groups[key].append(place)
    return [group for group in groups.values() if len(group) > 1]


def near(hashes: np.ndarray, thumbnails: np.ndarray) -> list[list[int]]:
    """Groups of places that near duplication connects. `hashes` is (N,) uint64, `thumbnails` (N, 192) uint8."""
    roots = np.arange(len(hashes))
    for bucket in _buckets(hashes):
        for place, one in enumerate(bucket[:-1]):
            rest = bucket[place + 1 :]
            rest = rest[roots[rest] != roots[one]]  # thousands of copies of one picture are soon done with
            rest = rest[np.bitwise_count(hashes[rest] ^ hashes[one]) <= DISTANCE]
            if rest.size:
                change = np.abs(thumbnails[rest].astype(np.int16) - thumbnails[one])
                _join(roots, np.append(rest[(change <= CHANGE).all(axis=1)], one))
    return equal(_tops(roots, roots).tolist())


def _buckets(hashes: np.ndarray) -> Iterator[np.ndarray]:
    for shift, width in CHUNKS:
        chunk = hashes >> np.uint64(shift) & np.uint64((1 << width) - 1)
        order = np.argsort(chunk, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(chunk[order])) + 1):
            if len(bucket) > 1:
                yield bucket


def _tops(roots: np.ndarray, places: np.ndarray) -> np.ndarray:
    while not np.array_equal(above := roots[places], places):
        places = above
    return places


def _join(roots: np.ndarray, places: np.ndarray) -> None:
    tops = _tops(roots, places)
    roots[tops] = roots[places] = tops.min()
