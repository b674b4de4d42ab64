"""What is drawn: prompts, numbered where one stands several times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from limner.data.scenes import Scenes
from limner.evaluate.suite import KINDS

COUNT = 100


class Subject(NamedTuple):
    """Picture number `take` of a prompt, counted from 0; pictures of one subject can be held against each other."""

    prompt: str
    take: int


def numbered(prompts: Iterable[str]) -> list[Subject]:
    """A subject for each; a prompt that comes again is its next take."""
    taken: Counter[str] = Counter()
    found = []
    for prompt in prompts:
        found.append(Subject(prompt, taken[prompt]))
        taken[prompt] += 1
    return found


def of_scenes(split: str, *, seed: int, count: int = COUNT) -> list[Subject]:
    """Captions in English of scenes, of the kinds that the scorer examines, in equal shares."""
    scenes = Scenes(split, seed=seed, mix=dict.fromkeys(KINDS, 1.0))
    return numbered(scenes.truth(index).caption for index in range(count))
