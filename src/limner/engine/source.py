"""Weights as they were read, in files that are mapped or in memory, of which one laid out is made."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import torch
from torch import Tensor

from limner.store.pages import Pages, mappings


class Source:
    """A layer's weights as they were read."""

    def __init__(self, *weights: Tensor) -> None:
        self.weights, self.dtype = [weight.detach() for weight in weights], weights[0].dtype

    @cached_property
    def pages(self) -> Pages:
        return Pages(*self.weights)

    @property
    def lasting(self) -> bool:
        """Whether they can be read again, from a file."""
        return self.pages.all_mapped

    def read(self) -> Tensor:
        """One behind the other."""
        return torch.cat(self.weights) if len(self.weights) > 1 else self.weights[0]

    def let_go(self) -> None:
        self.pages.forget()
        if not self.lasting:
            self.weights = []


def locate(sources: Iterable[Source]) -> None:
    """Find out together where they lie: one by one it would take as long as loading them."""
    files = mappings()
    for one in sources:
        one.pages = Pages(*one.weights, mapped=files)
