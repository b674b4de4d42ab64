"""The latest results of a network, so that what is asked for again is not computed again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """At most `room` results by their keys. The one unused for longest goes first; all go when the weights change."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._results: OrderedDict[Key, Value] = OrderedDict()
        self._stamp: list[object] = []

    def of(
        self, keys: Iterable[Key], compute: Callable[[Sequence[Key]], Sequence[Value]], *, weights: Iterable[Tensor]
    ) -> dict[Key, Value]:
        """The results of `keys`; those that are not here are computed by one call, from `weights`."""
        self._forget_those_of_other(weights)
        wanted = list(dict.fromkeys(keys))
        missing = [key for key in wanted if key not in self._results]
        found = {key: self._results[key] for key in wanted if key in self._results}
        if missing:
            found |= zip(missing, compute(missing), strict=True)
        for key in wanted:
            self._results[key] = found[key]
            self._results.move_to_end(key)
        while len(self._results) > self._room:
            self._results.popitem(last=False)
        return found

    def __len__(self) -> int:
        return len(self._results)

    def _forget_those_of_other(self, weights: Iterable[Tensor]) -> None:
        stamp = [torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda"), *map(_stamp, weights)]
        if stamp != self._stamp:
            self._results.clear()
            self._stamp = stamp


def _stamp(weight: Tensor) -> tuple[int, int, int]:
    """It changes when the tensor is replaced, moved, or written to."""
    version = 0 if weight.is_inference() else weight._version  # the former count no versions
    return id(weight), weight.data_ptr(), version
