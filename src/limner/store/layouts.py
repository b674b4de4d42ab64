"""How another program names and lays the tensors that we have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

Rename = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Layout:
    """`rename` makes their name of ours; `{qkv}` in it stands for three tensors, which ours has stacked.

    Those whose names end in `transposed` lie the other way round, and those in `pointwise` are convolutions of
    1 x 1 where ours are matrices. `constants` are what some files carry beside weights: whole names, and beginnings
    that end in a dot.
    """

    rename: Rename
    transposed: tuple[str, ...] = ()
    pointwise: tuple[str, ...] = ()
    constants: frozenset[str] = frozenset()

    def theirs(self, name: str) -> list[str]:
        renamed = self.rename(name)
        return [renamed.replace("{qkv}", letter) for letter in "qkv"] if "{qkv}" in renamed else [renamed]

    def to_theirs(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            names = self.theirs(name)
            found |= zip(names, [tensor] if len(names) == 1 else tensor.chunk(len(names)), strict=True)
        return {name: self._given(name, tensor) for name, tensor in found.items()}

    def to_ours(self, tensors: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
        """The tensors called `names` here."""
        parts = {name: [self._taken(one, tensors[one]) for one in self.theirs(name)] for name in names}
        return {name: part[0] if len(part) == 1 else torch.cat(part) for name, part in parts.items()}

    def weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All but the constants."""
        return {name: tensor for name, tensor in tensors.items() if not self._constant(name)}

    def _constant(self, name: str) -> bool:
        return name in self.constants or any(one.endswith(".") and name.startswith(one) for one in self.constants)

    def _given(self, name: str, tensor: Tensor) -> Tensor:
        if name.endswith(self.pointwise):
            return tensor[..., None, None]
        return tensor.T if name.endswith(self.transposed) else tensor

    def _taken(self, name: str, tensor: Tensor) -> Tensor:
        if name.endswith(self.pointwise):
            return tensor.flatten(1)
        return tensor.T if name.endswith(self.transposed) else tensor


def replacing(pairs: Mapping[str, str]) -> Rename:
    """A name in which each key is replaced, one after the other."""

    def rename(name: str) -> str:
        for ours, theirs in pairs.items():
            name = name.replace(ours, theirs)
        return name

    return rename
