"""A model's whole examination: scenes' captions to pictures to a table, with the scorer's calibration beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from limner.core import check, unparse
from limner.data.scenes import Scenes
from limner.data.scenes.truth import Truth
from limner.evaluate.scorer import score
from limner.evaluate.scorer.reading import Reading
from limner.evaluate.table import Table, Tallies, tally
from limner.pipeline import Picture, Pipeline

KINDS = ("single", "two", "shape", "relation", "count")
SPLITS = ("seen", "unseen")
CALIBRATED = 200  # real scenes of each kind that calibrate the scorer, where there are as many prompts


@dataclass(frozen=True, slots=True)
class Judged:
    """One picture that the model drew: number `index` of its kind."""

    index: int
    truth: Truth
    picture: Picture
    reading: Reading


def suite(
    pipeline: Pipeline,
    *,
    split: str = "seen",
    prompts: int = 500,
    seed: int = 0,
    knobs: Mapping[str, Any] | None = None,
    watch: Callable[[Judged], object] = lambda judged: None,
) -> Table:
    """Score `prompts` captions of each kind from `split`; `watch` is shown every picture when it is judged.

    The kinds are single, two, shape, relation and count; the background is asked of all the captions that
    speak of one. `seed` is that of the scenes and of the first picture, which makes the table repeatable.
    """
    check(prompts >= 2, f"prompts = {prompts}: captions are shuffled among 2 or more of a kind")
    typed = pipeline.knobs(knobs or {})
    drawn: list[Reading] = []
    for kind in KINDS:
        scenes = Scenes(split, seed=seed, mix={kind: 1.0})
        truths = [scenes.truth(index) for index in range(prompts)]
        for judged in judge(pipeline, truths, seed=seed, knobs=knobs or {}):
            drawn.append(judged.reading)
            watch(judged)
    real, shuffled = calibration(split, min(prompts, CALIBRATED), seed)
    about = {
        "model": pipeline.name, "hash": pipeline.hash, "split": split, "prompts": prompts, "seed": seed,
        "knobs": unparse(typed),
    }  # fmt: skip
    return Table(tally(drawn), real, shuffled, about)


@lru_cache
def calibration(split: str, count: int, seed: int) -> tuple[Tallies, Tallies]:
    """What the scorer makes of `count` real scenes of each kind, with their own truths and with each other's.

    It says nothing of a model, so that one calibration serves all the tables of a process.
    """
    real: list[Reading] = []
    shuffled: list[Reading] = []
    for kind in KINDS:
        scenes = Scenes(split, seed=seed, mix={kind: 1.0})
        truths = [scenes.truth(index) for index in range(count)]
        pictures = [scenes.render(truth) for truth in truths]
        real += score(pictures, truths)
        shuffled += score(pictures[1:] + pictures[:1], truths)
    return tally(real), tally(shuffled)


def judge(pipeline: Pipeline, truths: Sequence[Truth], *, seed: int, knobs: Mapping[str, Any]) -> Iterator[Judged]:
    """Draw each truth's caption, with seeds from `seed` on, and read the picture."""
    requests = pipeline.requests([truth.caption for truth in truths], seeds=seed, knobs=knobs)
    for index, (truth, picture) in enumerate(zip(truths, pipeline.stream(requests), strict=True)):
        yield Judged(index, truth, picture, score([picture.image], [truth])[0])
