"""Operations, counted against what they must be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limner.core import Batch, Example, Family, Step
from limner.train import cost
from tests.train.toys import recipe

SIDE, WIDTH = 4, 3


class Sums(Family):
    """Two steps: a linear layer, and one whose gradient's length is its loss."""

    def __init__(self) -> None:
        super().__init__(None, None)
        self.one, self.two = (nn.Linear(3 * SIDE * SIDE, WIDTH, bias=False) for _ in range(2))
        self.one._limner_group = self.two._limner_group = "adamw"  # which multiplies no matrices

    def steps(self):
        return [
            Step("one", list(self.one.parameters()), self.plain),
            Step("two", list(self.two.parameters()), self.slope, every=2),
        ]

    def plain(self, batch: Batch, generator):
        return {"loss": self.one(batch.images.flatten(1)).square().sum()}

    def slope(self, batch: Batch, generator):
        x = batch.images.flatten(1).requires_grad_()
        (gradient,) = torch.autograd.grad(self.two(x).square().sum(), x, create_graph=True)
        return {"loss": gradient.square().sum()}


class Grey:
    def __getitem__(self, index: int) -> Example:
        return Example(torch.full((3, SIDE, SIDE), 99, dtype=torch.uint8), "grey")


def test_an_update_costs_what_its_products_do() -> None:
    """Per image the plain step has two products, forward and back to the weights. The slope's step is every second, and
    has six: forward, back to the pixels, and from there back through either, to the weights and to what came in."""
    product = 2 * 3 * SIDE * SIDE * WIDTH
    for accumulate in (1, 3):
        assert cost.of_training(Sums(), recipe(batch=8, accumulate=accumulate), Grey()) == (2 + 6 / 2) * product


def test_a_stage_is_weighted_by_its_part_of_the_run() -> None:
    whole = cost.of_training(Sums(), recipe(batch=8), Grey())
    halves = cost.of_training(Sums(), recipe(batch=8, stages={"one": (0.0, 0.5), "two": (0.5, 1.0)}), Grey())
    assert halves == pytest.approx(whole / 2)
