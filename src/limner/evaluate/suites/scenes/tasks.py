"""What the suite `scenes` asks of a model: GenEval's axes (Ghosh et al., 2023), and what lies beyond training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from limner.core import check, nearest
from limner.data.dice import Dice
from limner.data.scenes import Scenes
from limner.data.scenes.longer import lengthened
from limner.data.scenes.paraphrases import paraphrase
from limner.data.scenes.truth import Truth
from limner.evaluate.scorer.reading import Reading

SPLITS = ("seen", "unseen")
DIRECTIONS = ("left of", "right of", "above", "below")

Fits = Callable[[Truth], bool]
Beyond = Callable[[Truth, str, Dice], Truth]


@dataclass(frozen=True, slots=True)
class Item:
    """One caption to draw, what it means, and the picture's seed. `knobs` are those that differ from the usual ones."""

    task: str
    split: str
    truth: Truth
    seed: int
    knobs: Mapping[str, Any] = field(default_factory=dict)

    def right(self, reading: Reading) -> bool:
        return bool(reading.background_right) if self.task == "background" else reading.right


@dataclass(frozen=True, slots=True)
class Task:
    """Scenes of `mix` that `fits`, said `beyond` what training shows where there is such a function.

    `apart` is added to the seed, so that no scene is asked for in two tasks.
    """

    title: str
    mix: Mapping[str, float]
    fits: Fits = lambda truth: True
    beyond: Beyond | None = None
    apart: int = 0

    def truths(self, split: str, seed: int) -> Iterator[Truth]:
        """Endless, and a pure function of (split, seed)."""
        scenes = Scenes(split, seed=seed + self.apart, mix=self.mix)
        for index in itertools.count():
            truth = scenes.truth(index)
            if self.fits(truth):
                yield truth if self.beyond is None else self.beyond(truth, split, Dice("beyond", seed, split, index))


def _two_shapes(truth: Truth) -> bool:
    """Of different colours: either colour must go to its own shape."""
    colours = {one.colour for one in truth.things}
    return "" not in colours and len(colours) == 2


def _paraphrased(truth: Truth, split: str, dice: Dice) -> Truth:
    return replace(truth, caption=paraphrase(truth, dice), form="paraphrase")


TASKS: Mapping[str, Task] = {
    "single": Task("single thing", {"single": 1.0}),
    "two": Task("two things", {"two": 1.0}),
    "count": Task("count", {"count": 1.0}),
    "colour": Task("colour of a shape", {"shape": 1.0}),
    "position": Task("position", {"relation": 1.0}, lambda truth: truth.relation in DIRECTIONS),
    "attribution": Task("colours of two shapes", {"two": 1.0}, _two_shapes, apart=3_000_000),
    "relation": Task("other relations", {"relation": 1.0}, lambda truth: truth.relation not in DIRECTIONS),
    "background": Task("background", {"single": 1.0}, lambda truth: truth.ground.said, apart=1_000_000),
    "longer": Task("five things", {"many": 1.0}, beyond=lengthened),
    "paraphrase": Task(
        "paraphrases", {"single": 0.4, "relation": 0.4, "count": 0.2}, lambda truth: truth.relation != "corners",
        _paraphrased, apart=2_000_000,
    ),
    "language": Task("other languages", {"language": 1.0}),
}  # fmt: skip
GENEVAL = ("single", "two", "count", "colour", "position", "attribution")


def items(task: str, split: str, count: int, *, seed: int = 0) -> list[Item]:
    """The first `count` of a task in a split; the pictures' seeds go up from `seed`. InputError for another name."""
    check(task in TASKS, f'there is no task "{task}"{nearest(task, list(TASKS))}; there are {", ".join(TASKS)}')
    truths = itertools.islice(TASKS[task].truths(split, seed), count)
    return [Item(task, split, truth, seed + index) for index, truth in enumerate(truths)]


def examination(count: int, *, seed: int = 0) -> list[Item]:
    """`count` items of each task, half of them `seen` and half `unseen`."""
    check(count >= 4, f"{count} captions a task: there are 2 or more of either split, so give 4 or more")
    shares = dict(zip(SPLITS, (count - count // 2, count // 2), strict=True))
    return [item for task in TASKS for split, share in shares.items() for item in items(task, split, share, seed=seed)]
