"""A prompt in three numbers: its tokens, how many of its words no caption has, and how far it is from any caption.

The tokens are the model's own. Of these none is unknown: the tokenizers go down to bytes. So what is unknown is told by
words, and marks of their own, in the way that the captions have them.

Distance is one minus the cosine of two texts as bags of words, each word weighed by how rare it is in the captions
(Sparck Jones, 1972), to the nearest of some captions: a person can see what is near to what.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from limner.core import Tokenizer

WORD = re.compile(r"\w+|[^\w\s]")
MOST = 1000  # characters that are looked at: the rest of a longer prompt tells nothing new
LONGEST = 4 * MOST  # tokens


@dataclass(frozen=True, slots=True)
class Measured:
    """`nearest` is the number of the caption that `distance` is to."""

    length: int
    unknown: float
    distance: float
    nearest: int


def words(text: str) -> list[str]:
    """In lower case, compatible forms alike (NFKC)."""
    return WORD.findall(unicodedata.normalize("NFKC", text[:MOST]).lower())


class Ruler:
    """Measures prompts by `captions`. `known` says in how many of `total` captions each word is."""

    def __init__(self, captions: Sequence[str], known: Mapping[str, int], total: int, tokenizer: Tokenizer) -> None:
        self._known, self._total, self._tokenizer = known, total, tokenizer
        self._count = len(captions)
        self._places = self._indexed(captions)

    def measure(self, prompts: Sequence[str]) -> list[Measured]:
        lengths = self._lengths(prompts)
        return [self._measured(prompt, length) for prompt, length in zip(prompts, lengths, strict=True)]

    def _lengths(self, prompts: Sequence[str]) -> list[int]:
        found: list[int] = []
        for prompt in prompts:  # one by one: in a batch all are as long as the longest
            found.append(int(self._tokenizer.encode([prompt[:MOST]], LONGEST)[1].sum()))
        return found

    def _measured(self, prompt: str, length: int) -> Measured:
        own = words(prompt)
        unknown = sum(word not in self._known for word in own) / max(1, len(own))
        near = np.zeros(self._count)
        for word, weight in self._weighed(own).items():
            if word in self._places:
                rows, weights = self._places[word]
                near[rows] += weight * weights
        nearest = int(near.argmax())
        return Measured(length, unknown, float(1.0 - min(1.0, near[nearest])), nearest)

    def _weighed(self, own: Sequence[str]) -> dict[str, float]:
        """A unit vector."""
        found = {word: math.log((self._total + 1) / (self._known.get(word, 0) + 1)) + 1.0 for word in own}
        norm = math.sqrt(sum(weight**2 for weight in found.values()))
        return {word: weight / norm for word, weight in found.items()}

    def _indexed(self, captions: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By word, the captions that have it and its weight in each."""
        found: dict[str, list[tuple[int, float]]] = {}
        for row, caption in enumerate(captions):
            for word, weight in self._weighed(words(caption)).items():
                found.setdefault(word, []).append((row, weight))
        return {
            word: (np.array([row for row, _ in some]), np.array([weight for _, weight in some]))
            for word, some in found.items()
        }
