"""What an extractor makes of pictures and a metric reads: rows of features that know where they are from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from limner.core import InputError, check


@dataclass(frozen=True, slots=True)
class ExtractorId:
    """Which extractor, to the bit: `hash` is the SHA-256 of its weights (empty where it has none)."""

    name: str
    hash: str = ""
    resize: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.name, self.hash[:12], self.resize and f"({self.resize})") if part)


class Extractor(Protocol):
    """Pictures (B, 3, H, W) in [-1, 1] to features (B, D). No picture's features depend on the others of its batch."""

    @property
    def id(self) -> ExtractorId: ...

    def __call__(self, images: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """`values` (N, D), one row a picture; `prompts` says what each was drawn for.

    Pictures of one prompt are no independent witnesses: the bootstrap takes or leaves them together. Pictures
    without prompts are each their own (`Features.of`). `seeds` are those of the pictures' generation.
    """

    values: Tensor
    prompts: tuple[str, ...]
    extractor: ExtractorId
    seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check(self.values.ndim == 2, f"features are (N, D), not {tuple(self.values.shape)}")
        rows = len(self.values)
        check(len(self.prompts) == rows, f"there are {len(self.prompts)} prompts for {rows} rows; give one for each")
        check(len(self.seeds) in (0, rows), f"there are {len(self.seeds)} seeds for {rows} rows; give one for each")
        if not bool(torch.isfinite(self.values).all()):
            raise InputError(f"features of {self.extractor} hold numbers that are not finite; look at the pictures")

    @staticmethod
    def of(
        values: Tensor, extractor: ExtractorId, *, prompts: Sequence[str] | None = None, seeds: Sequence[int] = ()
    ) -> Features:
        """Without `prompts` every row is its own."""
        names = [str(row) for row in range(len(values))] if prompts is None else prompts
        return Features(values, tuple(names), extractor, tuple(seeds))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Sequence[int] | Tensor) -> Features:
        places = [int(row) for row in rows]
        return replace(
            self,
            values=self.values[places],
            prompts=tuple(self.prompts[row] for row in places),
            seeds=tuple(self.seeds[row] for row in places) if self.seeds else (),
        )

    def said(self, prompts: Sequence[str]) -> Features:
        """The same rows as pictures of these prompts."""
        return replace(self, prompts=tuple(prompts))

    @property
    def double(self) -> Tensor:
        """(N, D) in float64 on the CPU, in which every metric is computed."""
        return self.values.detach().cpu().double()

    @property
    def groups(self) -> dict[str, list[int]]:
        """The rows of each prompt, prompts in the order of their names."""
        found: dict[str, list[int]] = {prompt: [] for prompt in sorted(set(self.prompts))}
        for row, prompt in enumerate(self.prompts):
            found[prompt].append(row)
        return found


def extract(
    extractor: Extractor,
    pictures: Iterable[Tensor],
    *,
    prompts: Sequence[str] | None = None,
    seeds: Sequence[int] = (),
    batch: int = 32,
) -> Features:
    """Features of pictures (3, H, W) in [-1, 1], of any sizes, read as they come, at most `batch` at once."""
    return extract_all([extractor], pictures, prompts=prompts, seeds=seeds, batch=batch)[0]


@torch.inference_mode()
def extract_all(
    extractors: Sequence[Extractor],
    pictures: Iterable[Tensor],
    *,
    prompts: Sequence[str] | None = None,
    seeds: Sequence[int] = (),
    batch: int = 32,
) -> list[Features]:
    """As `extract`, by several extractors, while the pictures are read but once."""
    parts: list[list[Tensor]] = [[] for _ in extractors]
    for images in _batches(pictures, batch):
        for part, extractor in zip(parts, extractors, strict=True):
            part.append(extractor(images).float().cpu())
    check(all(parts), "there are no pictures to extract features from; give some")
    return [
        Features.of(torch.cat(part), extractor.id, prompts=prompts, seeds=seeds)
        for part, extractor in zip(parts, extractors, strict=True)
    ]


def _batches(pictures: Iterable[Tensor], most: int) -> Iterator[Tensor]:
    """Neighbours of one size together."""
    held: list[Tensor] = []
    for picture in pictures:
        if picture.ndim != 3 or picture.shape[0] != 3 or not picture.is_floating_point():
            raise InputError(f"a picture is floats of (3, height, width), not {picture.dtype} {tuple(picture.shape)}")
        if held and (len(held) == most or picture.shape != held[0].shape):
            yield torch.stack(held)
            held = []
        held.append(picture)
    if held:
        yield torch.stack(held)


# ---------------------------------------------------------------------------------------------------
# What metrics ask of the features that they are handed.


def enough(metric: str, features: Features, least: int, *, remedy: str = "give more") -> None:
    """InputError with one line unless there are `least` pictures."""
    check(len(features) >= least, f"{metric} needs {least} or more pictures, and there are {len(features)}; {remedy}")


def comparable(metric: str, *several: Features) -> None:
    """InputError unless all are features of one extractor."""
    first = several[0]
    for other in several[1:]:
        if other.extractor != first.extractor:
            raise InputError(f"{metric}: features of {first.extractor} and of {other.extractor} have nothing in common")
        wide, narrow = first.values.shape[1], other.values.shape[1]
        check(wide == narrow, f"{metric}: features of {first.extractor} are {wide} and {narrow} wide; extract anew")
