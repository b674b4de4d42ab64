"""Chance that is the same on every machine and with every library: BLAKE2 in counter mode, whole numbers only."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """An endless row of throws that is a pure function of `key`."""

    def __init__(self, *key: object) -> None:
        self._key = "/".join(map(str, key)).encode()
        self._count = 0
        self._words: list[int] = []

    def below(self, bound: int) -> int:
        """A whole number in [0, bound)."""
        if not self._words:
            block = blake2b(self._key, salt=self._count.to_bytes(16, "little")).digest()
            self._words = list(struct.unpack("<8Q", block))
            self._count += 1
        return self._words.pop() * bound >> 64

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def weighted(self, shares: Mapping[T, int]) -> T:
        """A key of `shares`, as often as its whole-numbered share says."""
        throw = self.below(sum(shares.values()))
        for choice, share in shares.items():
            throw -= share
            if throw < 0:
                return choice
        raise AssertionError("unreachable")

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent

    def jitter(self, reach: int) -> int:
        """A whole number in [-reach, reach]."""
        return self.below(2 * reach + 1) - reach
