"""What the suite `scenes` says of those who draw nothing: the rows that a model's are to be read beside.

They depend on the suite alone, so they were measured once (scripts/baselines.py) and are shipped, an answer
for each caption.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from limner.data.scenes import Scenes
from limner.evaluate.scorer import score
from limner.evaluate.suites.captions.nearest_captions import NearestCaptions
from limner.evaluate.suites.scenes.tasks import Item
from limner.evaluate.table import Tally

PACK = Path(__file__).parents[3] / "assets" / "baselines.json"
TRAINING = 20_000  # training scenes, the first ones, among which the nearest captions are sought
NEAR = 8  # of which the mean is made

BASELINES: Mapping[str, str] = {
    "real": "a real picture",
    "other": "a real picture of another caption",
    "nearest": "the training picture of the nearest caption",
    "mean": f"the mean of the {NEAR} nearest",
}


def tally(task: str, split: str, baseline: str) -> Tally:
    """As it is shipped."""
    answers = _shipped()[task][split][baseline]
    return Tally(answers.count("1"), len(answers))


@lru_cache(1)
def _shipped() -> dict[str, dict[str, dict[str, str]]]:
    found: dict[str, dict[str, dict[str, str]]] = json.loads(PACK.read_text(encoding="utf-8"))
    return found


# ---------------------------------------------------------------------------------------------------
# How they are measured.


def answers(items: Sequence[Item], baseline: str, training: Training) -> str:
    """ "1" for each item that the baseline's picture gets right, "0" for each other; all of one task and split.

    The picture of another caption is that of the item before, and the last one's for the first.
    """
    pictures = _PAINTERS[baseline](items, training)
    readings = score(pictures, [item.truth for item in items])
    return "".join(str(int(item.right(reading))) for item, reading in zip(items, readings, strict=True))


class Training:
    """The first scenes of training, found by caption."""

    def __init__(self, count: int = TRAINING) -> None:
        self.scenes = Scenes("train")
        self.truths = [self.scenes.truth(index) for index in range(count)]
        self.captions = NearestCaptions([truth.caption for truth in self.truths])

    def nearest(self, caption: str, count: int) -> list[Image.Image]:
        return [self.scenes.render(self.truths[place]) for place in self.captions.nearest([caption], count)[0]]


def _real(items: Sequence[Item], training: Training) -> list[Image.Image]:
    return [training.scenes.render(item.truth) for item in items]


def _other(items: Sequence[Item], training: Training) -> list[Image.Image]:
    pictures = _real(items, training)
    return pictures[-1:] + pictures[:-1]


def _nearest(items: Sequence[Item], training: Training) -> list[Image.Image]:
    return [training.nearest(item.truth.caption, 1)[0] for item in items]


def _mean(items: Sequence[Item], training: Training) -> list[Image.Image]:
    return [_averaged(training.nearest(item.truth.caption, NEAR)) for item in items]


def _averaged(pictures: Sequence[Image.Image]) -> Image.Image:
    return Image.fromarray(np.mean([np.asarray(one) for one in pictures], axis=0).round().astype(np.uint8))


_PAINTERS: Mapping[str, Callable[[Sequence[Item], Training], list[Image.Image]]] = {
    "real": _real, "other": _other, "nearest": _nearest, "mean": _mean,
}  # fmt: skip
