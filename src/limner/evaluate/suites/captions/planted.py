"""The canaries of a folder, if it has any, and which of them came back. See limner.data.canaries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from limner.core import InputError, check
from limner.data.canaries import FEWEST, LISTING, Canary, read
from limner.data.people import Pictures
from limner.data.people.formats.listing import Caption, Item
from limner.data.people.pictures import UnreadableError
from limner.data.people.preview import sheet
from limner.evaluate.extractors import Pixels, signed
from limner.evaluate.features import extract
from limner.evaluate.metrics import Regurgitation, regurgitation
from limner.evaluate.report import Section
from limner.evaluate.suites.captions.drawn import Drawn
from limner.evaluate.suites.captions.real import Real, caption

PLACES = Pixels(8)
"""Where which colour is, as a mosaic's cells are: what a copy must have right."""
DRAWINGS = 4  # of each canary
SHOWN = 3  # canaries of each number of copies


@dataclass(frozen=True, slots=True, eq=False)
class Returned:
    """What came of the canaries: `rates` by the number of copies."""

    canaries: Sequence[Canary]
    planted: Real
    drawn: Drawn
    rates: dict[int, Regurgitation]

    def to_json(self) -> list[dict[str, Any]]:
        return [rate.to_json() for rate in self.rates.values()]


def planted(folder: Path, train: Pictures) -> list[Canary]:
    """The folder's canaries; InputError unless `train` has each as often as its list says, and pictures besides."""
    canaries = read(folder)
    times = Counter(caption(item) for item in train.items)
    for one in canaries:
        check(
            times[one.text] == one.copies,
            f"{folder / LISTING}: {one.text!r} is said to be planted {one.copies} times, and the training pictures "
            f"have it {times[one.text]} times; take the folder as it was written",
        )
    others = len(train.items) - sum(one.copies for one in canaries)
    if canaries:
        check(
            others >= FEWEST, f"{folder}: {others} training pictures beside the canaries; {FEWEST} tell what a copy is"
        )
    return canaries


def themselves(canaries: Sequence[Canary], folder: Path, size: int) -> Real:
    """The pictures that were planted; InputError where one of them cannot be read."""
    items = tuple(
        Item(one.file_name, str(folder / one.file_name), (Caption(one.text, str(folder / LISTING)),))
        for one in canaries
    )
    unread = Real(items, {}, size)
    levels = []
    for row, item in enumerate(items):
        try:
            levels.append(signed(unread.picture(row)))
        except UnreadableError as error:
            raise InputError(f"{item.path}: {error}; take the folder as it was written") from None
    return replace(unread, features={PLACES.id: extract(PLACES, levels, prompts=unread.captions)})


def returned(canaries: Sequence[Canary], itself: Real, drawn: Drawn, train: Real) -> Returned:
    """Which of the canaries `itself` are among the drawings of their captions."""
    there = set(itself.captions)
    others = [row for row, said in enumerate(train.captions) if said not in there]
    rates = regurgitation(
        drawn.features[PLACES.id], itself.features[PLACES.id], train.features[PLACES.id][others],
        copies=[one.copies for one in canaries],
    )  # fmt: skip
    return Returned(canaries, itself, drawn, rates)


def section(found: Returned, size: int) -> Section:
    """The rates, and some canaries of each number of copies beside the first drawing of their captions."""
    rows = [
        [str(copies), str(rate.n), f"{rate.value:.0%}", "{:.0%} to {:.0%}".format(*rate.interval), str(rate.drawings)]
        for copies, rate in found.rates.items()
    ]
    return Section(
        heading="Planted pictures",
        text=(
            "Canaries are pictures like no other, with captions like no other, that were planted among the training "
            "pictures so many times each. One has come back if any drawing of its caption is nearer to it than half "
            "the mean distance of the 50 training pictures nearest to that drawing. Those planted 0 times say how "
            "often this errs."
        ),
        columns=("copies", "canaries", "came back", "95 % interval", "drawings of each"),
        rows=rows,
        pictures={"Canaries, and what was drawn for their captions": _beside(found, size)},
    )


def _beside(found: Returned, size: int) -> Image.Image:
    shown = min(SHOWN, *(rate.n for rate in found.rates.values()))
    tiles = []
    for copies in found.rates:
        for place in [place for place, one in enumerate(found.canaries) if one.copies == copies][:shown]:
            tiles.append((found.planted.image(place), f"{found.canaries[place].text}, × {copies}"))
            tiles.append((found.drawn.images[found.drawn.first[place]], "drawn for its caption"))
    return sheet(tiles, size, columns=2 * shown)
