"""One update of one step: forward and backward of each batch, the check, the clip, the optimisers."""

from __future__ import annotations

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, nn

from limner.core import Batch, Family, Step
from limner.train.machine import Precision
from limner.train.optimisers import Optimisers, matrices
from limner.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Outcome:
    """`losses` averaged over the batches; `finite` is False where the update was skipped."""

    losses: dict[str, float]
    norm: float
    finite: bool


class Updater:
    """Updates `step.parameters` and nothing else."""

    def __init__(self, family: Family, step: Step, recipe: Recipe, precision: Precision) -> None:
        mine = {id(parameter) for parameter in step.parameters}
        self.step, self._precision, self._clip = step, precision, recipe.train.clip
        self.parameters = {name: one for name, one in family.named_parameters() if id(one) in mine}
        assert len(self.parameters) == len(mine), f"step {step.name} trains parameters that the family does not own"
        self.optimisers = Optimisers(self.parameters, matrices(family), recipe.optimizer)
        self._others = [one for one in family.parameters() if id(one) not in mine]

    def __call__(self, batches: Sequence[Batch], generator: Generator, *, share: float) -> Outcome:
        with _only(list(self.parameters.values()), self._others):
            losses = self._backward(batches, generator)
        gradients = [one.grad for one in self.parameters.values() if one.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())
        finite = math.isfinite(losses["loss"]) and math.isfinite(norm.item())
        if finite:
            if self._clip and norm.item() > self._clip:
                torch._foreach_mul_(gradients, self._clip / norm.item())
            self.optimisers.update(share * self.step.rate)
        for parameter in self.parameters.values():
            parameter.grad = None
        return Outcome(losses, norm.item(), finite)

    def _backward(self, batches: Sequence[Batch], generator: Generator) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for batch in batches:
            with self._precision.autocast():
                losses = self.step.loss(batch, generator)
            (losses["loss"] / len(batches)).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                sums[name] += value.item() / len(batches)
        return dict(sums)


@contextlib.contextmanager
def _only(mine: Sequence[nn.Parameter], others: Sequence[nn.Parameter]) -> Iterator[None]:
    """Within, `mine` want gradients and `others` do not; afterwards all is as it was."""
    before = [(one, one.requires_grad) for one in (*mine, *others)]
    for wanted, group in ((True, mine), (False, others)):
        for one in group:
            if one.requires_grad is not wanted:
                one.requires_grad_(wanted)
    try:
        yield
    finally:
        for one, wanted in before:
            if one.requires_grad is not wanted:
                one.requires_grad_(wanted)
