"""What an update and a picture cost in floating-point operations, counted while they are done.

Multiplications and additions of matrix products and convolutions, two to a pair, as is usual; nothing else weighs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from limner import pipeline
from limner.core import Batch, Family, Request, Source
from limner.train.recipe import Recipe
from limner.train.state import State


def of_training(family: Family, recipe: Recipe, source: Source) -> float:
    """Per image that the run sees, its optimisers included: the steps' operations, weighted by when and how often each
    is trained. Trains `family` by an update: hand in one that is not used again."""
    state = State(family, recipe)
    batch = Batch.of([source[index] for index in range(recipe.train.batch)])
    state.calibrate(batch)
    total = 0.0
    for updater in state.updaters:
        with _counted() as counter:
            updater([batch.to(state.device)], state.generator, share=0.0)
        total += counter.get_total_flops() * state.part(updater.step) / updater.step.every
    return total / len(batch)


@torch.no_grad()
def of_drawing(family: Family, requests: Sequence[Request]) -> float:
    """Per picture."""
    with _counted() as counter:
        pipeline.draw(family.eval(), requests)
    return counter.get_total_flops() / len(requests)


@contextlib.contextmanager
def _counted() -> Iterator[FlopCounterMode]:
    """Attention and recurrence in parts that the counter knows: some of a CPU's kernels for them it does not."""
    with (
        torch.compiler.set_stance("force_eager"),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.mkldnn.flags(enabled=False, allow_tf32=None),
        FlopCounterMode(display=False) as counter,
    ):
        yield counter
