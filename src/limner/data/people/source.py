"""People's own captioned pictures as an endless source of training examples."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from limner.core import Example, InputError
from limner.data.people import formats, pictures
from limner.data.people.formats.listing import Item, Listing, shown
from limner.data.people.splits import divide

TOLERATED = 0.2
JUDGED_AFTER = 100
MASK = (1 << 64) - 1
log = logging.getLogger("limner.data")


class Pictures:
    """A `Source`: example i is picture i % n of a permutation that (seed, i // n) makes, n = len(self).

    Several captions take turns by a hash of (seed, i); a picture without one has the empty prompt. A
    picture that cannot be read gives its place to the next one of the permutation that can, is named in
    one warning and counted in `broken`; more than a fifth of them is an InputError.
    """

    def __init__(self, items: Sequence[Item], *, size: int, seed: int, root: str) -> None:
        self.items = items
        self.size = size
        self.seed = seed
        self.root = root
        self._tried = np.zeros(len(items), dtype=bool)
        self._broken = np.zeros(len(items), dtype=bool)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many different pictures there are: one epoch."""
        return len(self.items)

    def __getitem__(self, index: int) -> Example:
        assert index >= 0, index
        epoch, place = divmod(index, len(self))
        order = permutation(len(self), self.seed, epoch)
        for step in range(len(self)):
            number = int(order[(place + step) % len(self)])
            if self._broken[number]:
                continue
            item = self.items[number]
            try:
                image = pictures.decode(item.read(), size=self.size, box=item.box)
            except pictures.UnreadableError as error:
                self._note(number, str(error))
                continue
            self._note(number, None)
            return Example(image, self._caption(item, index), item.label)
        raise InputError(
            f"{self.root}: none of the {len(self)} pictures can be read; run: limner data check {self.root}"
        )

    @property
    def broken(self) -> int:
        """How many pictures could not be read so far."""
        return int(self._broken.sum())

    def captions(self) -> Iterator[str]:
        """Every caption that says something, of every picture of this split."""
        return (caption.text for item in self.items for caption in item.captions if caption.text)

    def _caption(self, item: Item, index: int) -> str:
        if not item.captions:
            return ""
        return item.captions[mixed(mixed(self.seed) ^ index) % len(item.captions)].text

    def _note(self, number: int, fault: str | None) -> None:
        """Count a picture when it is met first, and stop where too many are broken."""
        with self._lock:
            if self._tried[number]:
                return
            self._tried[number], self._broken[number] = True, fault is not None
            tried, broken = int(self._tried.sum()), int(self._broken.sum())
        if fault is not None and broken == 1:
            name = shown(self.items[number].name)
            log.warning("%s: %s: %s; it and others like it are passed over", self.root, name, fault)
        if tried >= min(len(self), JUDGED_AFTER) and broken > TOLERATED * tried:
            raise InputError(
                f"{self.root}: {broken} of {tried} pictures cannot be read, more than {TOLERATED:.0%}; "
                f"run: limner data check {self.root}"
            )


def open_pictures(path: str | Path, *, size: int, split: str = "train", seed: int = 0) -> Pictures:
    """The pictures of one split of `path`; see `formats.find` for what may lie there. Nothing is decoded yet.

    An InputError says that nothing was recognised, that there is no such split, or that more than a
    fifth of the entries cannot be used.
    """
    listing = formats.find(path)
    _judge(listing, str(path))
    try:
        sides = divide(listing.items)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    items = [item for item, side in zip(listing.items, sides) if side == split]
    if not items:
        raise InputError(f'{path}: there is no split "{split}"; there is {", ".join(sorted(set(sides)))}')
    return Pictures(items, size=size, seed=seed, root=str(path))


def _judge(listing: Listing, path: str) -> None:
    bad, everything = len(listing.faults), len(listing.faults) + len(listing.items)
    if not bad:
        return
    said = f"{path}: {bad} of {everything} entries cannot be used; the first: {': '.join(listing.faults[0])}"
    if bad > TOLERATED * everything:
        raise InputError(f"{said}; more than {TOLERATED:.0%} is too much; run: limner data check {path}")
    log.warning("%s", shown(said))


@lru_cache(maxsize=4)
def permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Ours rather than numpy's, whose random streams may change from one version to the next."""
    keys = np.arange(count, dtype=np.uint64) ^ np.uint64(mixed(mixed(seed) ^ epoch))
    order = np.argsort(_mixed_array(keys), kind="stable")
    order.flags.writeable = False
    return order


def mixed(value: int) -> int:
    """The output function of SplitMix64 (Steele, Lea, Flood 2014): 64 bits that look random."""
    return int(_mixed_array(np.array([value & MASK], dtype=np.uint64))[0])


def _mixed_array(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
