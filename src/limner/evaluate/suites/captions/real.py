"""Somebody's captioned pictures as a suite needs them: those that can be read, with their features, in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from limner.data.people import Pictures, pictures
from limner.data.people.formats.listing import Item
from limner.data.people.source import permutation
from limner.evaluate.extractors import signed
from limner.evaluate.features import Extractor, ExtractorId, Features, extract_all


@dataclass(frozen=True, slots=True, eq=False)
class Real:
    """Pictures of `size` x `size`; `features` has a row for each of `items`, whose prompt is its caption."""

    items: tuple[Item, ...]
    features: Mapping[ExtractorId, Features]
    size: int

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, rows: Sequence[int]) -> Real:
        features = {extractor: found[rows] for extractor, found in self.features.items()}
        return Real(tuple(self.items[row] for row in rows), features, self.size)

    @property
    def captions(self) -> list[str]:
        return [caption(item) for item in self.items]

    def picture(self, row: int) -> Tensor:
        """(3, size, size) uint8."""
        return decoded(self.items[row], self.size)

    def image(self, row: int) -> Image.Image:
        return Image.fromarray(self.picture(row).permute(1, 2, 0).contiguous().numpy())


def gather(
    source: Pictures,
    extractors: Sequence[Extractor],
    *,
    most: int,
    fits: Callable[[Item], bool] = lambda item: True,
    watch: Callable[[int], object] = lambda done: None,
) -> Real:
    """`most` pictures of a source that fit and can be read, or all, in an order that its seed makes."""
    items: list[Item] = []

    def read() -> Iterator[Tensor]:
        for number in permutation(len(source), source.seed, 0):
            item = source.items[int(number)]
            if len(items) == most:
                return
            if not fits(item):
                continue
            try:
                levels = decoded(item, source.size)
            except pictures.UnreadableError:
                continue
            items.append(item)
            watch(len(items))
            yield signed(levels)

    found = extract_all(extractors, read())
    said = [caption(item) for item in items]
    return Real(tuple(items), {one.extractor: one.said(said) for one in found}, source.size)


def decoded(item: Item, size: int) -> Tensor:
    """(3, size, size) uint8, as it is trained on. UnreadableError for what cannot be read."""
    return pictures.decode(item.read(), size=size, box=item.box)


def caption(item: Item) -> str:
    """The first of those that it has, or nothing."""
    return item.captions[0].text if item.captions else ""
