"""A Stable Diffusion as other programs keep it, read and not yet built."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from limner.core import check, unparse
from limner.families import Hollow
from limner.families.stable_diffusion import Config, StableDiffusion
from limner.store import Description
from limner.store.layouts import Layout
from limner.store.shards import examine
from limner.store.sums import remembered_sha256
from limner.store.weights import check_match
from limner.text.ended import Templated

log = logging.getLogger(__name__)
Kind = Literal["diffusers", "single"]  # a folder of diffusers, or a file of the original code
Prediction = Literal["epsilon", "v_prediction"]
COUNTS = ("blocks", "depth", "depths", "middle")  # of layers, each of which has tensors
LARGEST = 1 << 20  # of all sizes: no text has so many kinds of tokens, and no layer is so wide


@dataclass(frozen=True, slots=True)
class Part:
    """The weights whose names in our model begin with `ours`, by their own names; `where` they lie."""

    where: Path
    ours: str
    layout: Layout
    tensors: Mapping[str, Tensor]

    def inner(self, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What is expected of it, by our names within."""
        return {name.removeprefix(self.ours): one for name, one in expected.items() if name.startswith(self.ours)}

    def check(self, expected: Mapping[str, Tensor]) -> None:
        """Keys and shapes; no number is read."""
        theirs = self.layout.to_theirs(self.inner(expected))
        check_match(f"{self.where}: weights and config do not belong together", theirs, self.tensors)

    def fitted(self, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        self.check(expected)
        ours = self.layout.to_ours(self.tensors, self.inner(expected))
        examine(self.where, self.tensors)  # last, as it lets go what others of ours were put together from
        return {f"{self.ours}{name}": one for name, one in ours.items()}


@dataclass(frozen=True, slots=True)
class StoredForeign:
    """Tensors are mapped files, in the precision in which they were stored.

    `where` is what was read, and `files` are those of the weights. `assumed` says, in a line, what the files do not and
    how to say otherwise; it is empty where they say all.
    """

    where: Path
    kind: Kind
    config: Config
    tokenizer: Templated
    parts: tuple[Part, ...]
    files: tuple[Path, ...]
    assumed: str = ""

    def fitted(self, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors by the names in `expected`, the state of a fresh model of `config`.

        Every key must be there, of the right shape, and no other, else an InputError has the first differences by the
        names in the files; and every number must be finite. Only what we keep stacked (the queries, keys and values of
        text towers) is copied.
        """
        found: dict[str, Tensor] = {}
        for part in self.parts:
            found |= part.fitted(expected)
        return {name: found[name] for name in expected}

    def check(self) -> None:
        """InputError, as `fitted` has it, where a key is missing, foreign or of another shape."""
        expected = self._hollow().state_dict()
        for part in self.parts:
            part.check(expected)

    def described(self) -> Description:
        """Its `limner` is empty, as none wrote it."""
        root = self.where if self.where.is_dir() else self.where.parent
        sums = {str(file.relative_to(root)): remembered_sha256(file) for file in self.files}
        return Description(folder=root, limner="", family="stable_diffusion", config=unparse(self.config), sums=sums)

    def built(self) -> StableDiffusion:
        """The model, in evaluation mode; its numbers are those of the mapped files. What is assumed is said aloud."""
        if self.assumed:
            log.warning("%s", self.assumed)
        made = self._hollow()
        made.load_state_dict(self.fitted(made.state_dict()), assign=True)
        return made.eval()

    def _hollow(self) -> StableDiffusion:
        with Hollow():
            return StableDiffusion(self.config, self.tokenizer)


def plausible(config: Config, tensors: int, where: Path) -> Config:
    """The same, unless it asks for more layers than there are `tensors`, or for sizes that nobody has.

    Such a model would take for ever to build, or more memory than there is: an InputError says so.
    """
    for name in ("unet", "vae", "text"):
        part = unparse(getattr(config, name))
        layers, sizes = _layers(part), _numbers(part)
        check(layers <= tensors, f"{where}: {name} has {layers} layers, and the weights are {tensors} tensors")
        check(
            min(sizes) >= 0 and max(sizes) <= LARGEST,
            f"{where}: {name} has sizes from {min(sizes)} to {max(sizes)}; copy it again",
        )
    return config


def _layers(config: Any) -> int:
    """The largest of the numbers that count layers, anywhere within, and of levels."""
    if isinstance(config, Mapping):
        counted = [max([len(_numbers(config[key])), *_numbers(config[key])]) for key in COUNTS if key in config]
        return max([0, *counted, *(_layers(one) for one in config.values())])
    return max([0, *map(_layers, config)]) if isinstance(config, list | tuple) else 0


def _numbers(config: Any) -> list[int]:
    """All that are whole, anywhere within."""
    if isinstance(config, Mapping | list | tuple):
        inner = config.values() if isinstance(config, Mapping) else config
        return [number for one in inner for number in _numbers(one)]
    return [config] if type(config) is int else []
