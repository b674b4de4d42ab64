"""Which captions are like which: the cosine of their words' TF-IDF weights (Salton and Buckley, 1988).

A word weighs as often as it stands in the caption, times ln((1 + N) / (1 + n)) + 1 where n of the N captions have it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from limner.core import check

WORD = re.compile(r"\w+|[^\w\s]")  # a mark is a word too: a caption may be a single emoji


class NearestCaptions:
    """Looks captions up among `captions`; an inverted index, so that a query costs what its words' captions do.

    >>> NearestCaptions(["a red apple", "a blue star"]).nearest(["the star is blue"], k=1)
    array([[1]])
    """

    def __init__(self, captions: Sequence[str]) -> None:
        check(bool(captions), "there are no captions to look among; give some")
        self._count = len(captions)
        self._number: dict[str, int] = {}  # of each word
        found = [Counter(words(caption)) for caption in captions]
        holders: list[list[int]] = []
        times: list[list[int]] = []
        for place, counted in enumerate(found):
            for word, often in counted.items():
                number = self._number.setdefault(word, len(holders))
                if number == len(holders):
                    holders.append([])
                    times.append([])
                holders[number].append(place)
                times[number].append(often)
        self._rarity = [math.log((1 + self._count) / (1 + len(one))) + 1 for one in holders]
        self._holders = [np.array(one) for one in holders]
        self._weights = self._normalised([np.array(one) * rare for one, rare in zip(times, self._rarity)])

    def __len__(self) -> int:
        return self._count

    def nearest(self, queries: Sequence[str], k: int) -> NDArray[np.int64]:
        """(len(queries), k): places of the captions, nearest first, the earlier of two that are equally near."""
        check(1 <= k <= self._count, f"k = {k}: there are 1 to {self._count} captions to name")
        found = [np.argsort(-self.cosines(query), kind="stable")[:k] for query in queries]
        return np.array(found, dtype=np.int64).reshape(len(queries), k)

    def cosines(self, query: str) -> NDArray[np.float64]:
        """(len(self),): from 0, no word in common, to 1, the same words. A word that no caption has plays no part."""
        near = np.zeros(self._count)
        counted = Counter(number for word in words(query) if (number := self._number.get(word)) is not None)
        weights = {number: often * self._rarity[number] for number, often in counted.items()}
        length = math.sqrt(sum(weight**2 for weight in weights.values()))
        for number, weight in weights.items():
            near[self._holders[number]] += weight / length * self._weights[number]
        return near

    def _normalised(self, weights: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """Each caption's weights over their length."""
        squares = np.zeros(self._count)
        for holders, one in zip(self._holders, weights):
            squares[holders] += one**2
        lengths = np.sqrt(squares)
        return [one / lengths[holders] for holders, one in zip(self._holders, weights)]


def words(text: str) -> list[str]:
    """Whatever the case, and whichever of its forms Unicode has each letter in."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())
