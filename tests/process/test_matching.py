"""Wrong pairs are wrong: another caption, and another class where there are classes."""

from __future__ import annotations

import torch

from limner.core import Batch
from limner.process.matching import Wrong, strangers, wrong_pictures


def batch(captions: list[str], labels: list[str] | None = None) -> Batch:
    return Batch(torch.zeros(len(captions), 3, 4, 4), captions, labels or ())


def test_a_stranger_has_another_caption_and_another_class() -> None:
    apart = strangers(batch(["a", "b", "a", "c"]))
    assert apart.tolist() == [
        [False, True, False, True],
        [True, False, True, True],
        [False, True, False, True],
        [True, True, True, False],
    ]
    classed = strangers(batch(["a", "b", "a", "c"], ["x", "x", "y", "y"]))
    assert classed.tolist() == [
        [False, False, False, True],
        [False, False, True, True],
        [False, True, False, False],
        [True, True, False, False],
    ]


def test_every_stranger_is_drawn_and_nobody_else() -> None:
    pairs = batch(["a", "b", "a", "c"], ["x", "x", "y", "y"])
    generator = torch.Generator().manual_seed(0)
    drawn = [wrong_pictures(pairs, generator) for _ in range(50)]
    assert all(wrong.exists.all() for wrong in drawn)
    seen = [{int(wrong.places[row]) for wrong in drawn} for row in range(4)]
    assert seen == [{3}, {2, 3}, {1}, {0, 1}]


def test_a_mean_counts_only_captions_that_have_a_stranger() -> None:
    losses = torch.tensor([1.0, 2.0, 30.0])
    some = wrong_pictures(batch(["a", "b", "c"], ["x", "y", "x"]), torch.Generator())
    assert some.mean(losses) == 11.0
    lonely = Wrong(torch.zeros(3, dtype=torch.int64), torch.tensor([True, True, False]))
    assert lonely.mean(losses) == 1.5
    for captions in (["a"], ["a", "a"]):
        none = wrong_pictures(batch(captions), torch.Generator())
        assert not none.exists.any()
        assert none.mean(losses[: len(captions)]) == 0.0
