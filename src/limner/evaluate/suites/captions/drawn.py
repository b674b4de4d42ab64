"""What a model drew for a suite's prompts: so many pictures of each, seeded one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from limner.evaluate.extractors import of_image
from limner.evaluate.features import Extractor, ExtractorId, Features, extract_all
from limner.evaluate.suites.drawings import drawings
from limner.pipeline import Pipeline

Knobs = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """`copies` pictures of each prompt, those of the first prompt first; `features` has a row for each."""

    prompts: tuple[str, ...]
    copies: int
    images: tuple[Image.Image, ...]
    seeds: tuple[int, ...]
    features: Mapping[ExtractorId, Features]

    @property
    def first(self) -> range:
        """The rows of the first picture of each prompt."""
        return range(0, len(self.images), self.copies)

    @property
    def firsts(self) -> dict[ExtractorId, Features]:
        """Their features."""
        return {extractor: found[self.first] for extractor, found in self.features.items()}


def draw(
    pipeline: Pipeline,
    prompts: Sequence[str],
    *,
    copies: int,
    seed: int,
    knobs: Knobs,
    extractors: Sequence[Extractor],
    folder: Path | None = None,
    watch: Callable[[int], object] = lambda done: None,
) -> Drawn:
    """Features are of what a file would hold, 8 bits a colour. Pictures that `folder` holds are not drawn again."""
    requests = pipeline.requests(prompts, copies=copies, seeds=seed, knobs=knobs)
    images: list[Image.Image] = []

    def pictures() -> Iterator[Tensor]:
        for drawing in drawings(pipeline, requests, folder):
            images.append(drawing.image)
            watch(len(images))
            yield of_image(images[-1])

    seeds = tuple(request.seed for request in requests)
    said = [request.prompt for request in requests]
    found = extract_all(extractors, pictures(), prompts=said, seeds=seeds)
    return Drawn(tuple(prompts), copies, tuple(images), seeds, {one.extractor: one for one in found})
