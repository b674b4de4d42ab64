"""The average of the weights over the last stretch of training: it draws better than the weights themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn


class Ema:
    """average <- decay * average + (1 - decay) * weights, for the named parameters."""

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.parameters = dict(parameters)
        self.averages: dict[str, Tensor] = {name: one.detach().clone() for name, one in parameters.items()}

    @torch.no_grad()
    def update(self, names: Sequence[str], decay: float) -> None:
        averages = [self.averages[name] for name in names]
        if averages:
            torch._foreach_lerp_(averages, [self.parameters[name] for name in names], 1.0 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the parameters hold the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.data, self.averages[name] = self.averages[name], parameter.data
