"""What an update and a picture cost in floating-point operations, counted while they are done.

Multiplications and additions of matrix products and convolutions, two to a pair, as is usual; nothing else weighs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from limner.core import Batch, Family, Request, Source
from limner.drawing import draw
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
            updater([batch.to(state.device)] * recipe.train.accumulate, state.generator, share=0.0)
        total += counter.flops * state.part(updater.step) / updater.step.every
    return total / state.stride


@torch.no_grad()
def of_drawing(family: Family, requests: Sequence[Request]) -> float:
    """Per picture."""
    with _counted() as counter:
        draw(family.eval(), requests)
    return counter.flops / len(requests)


class _Counter(TorchDispatchMode):
    """As torch's FlopCounterMode, without its hooks in modules: a gradient of a gradient does not get past them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.flops += count(*args, **kwargs, out_val=out)
        return out


@contextlib.contextmanager
def _counted() -> Iterator[_Counter]:
    """Attention and recurrence in parts that are known: some of a CPU's kernels for them are not."""
    with (
        torch.compiler.set_stance("force_eager"),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.mkldnn.flags(enabled=False, allow_tf32=None),
        _Counter() as counter,
    ):
        yield counter
