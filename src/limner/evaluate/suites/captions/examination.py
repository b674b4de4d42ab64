"""What the suite `captions` does: read the held-out part, draw its captions, measure the model and the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from limner.core import check, unparse
from limner.data.people import open_pictures
from limner.evaluate.bootstrap import Bootstrap
from limner.evaluate.features import Extractor, Features
from limner.evaluate.suites import measures
from limner.evaluate.suites.captions import planted
from limner.evaluate.suites.captions.contenders import baselines
from limner.evaluate.suites.captions.drawn import Drawn, draw
from limner.evaluate.suites.captions.planted import DRAWINGS, PLACES, Returned
from limner.evaluate.suites.captions.real import Real, caption, gather
from limner.evaluate.suites.measures import FEWEST, MODEL, Contenders, Row, rows
from limner.pipeline import Pipeline

MOST = 500  # captions to draw where nobody says how many
REFERENCE = 5000  # held-out pictures that the others are measured against, at most

WHAT = {"drawn": "drawing", "canaries": "drawing canaries"}  # by the folder's name, for those who watch
ASKS = ("fidelity", "alignment", "diversity", "memorisation")

Watch = Callable[[str, int, int], object]
"""Told what is being done, how many are done, and of how many."""
SILENT: Watch = lambda what, done, total: None  # noqa: E731


class Clip(Extractor, Protocol):
    """An extractor that reads words too: `limner.evaluate.extractors.DualEncoder`, say."""

    def texts(self, prompts: Sequence[str]) -> Features:
        """A row for each different prompt."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of the suite."""

    data: Path
    count: int | None
    copies: int
    seed: int
    knobs: Any
    extractors: tuple[Extractor, ...]
    clip: Clip | None
    training: int
    bootstrap: Bootstrap
    folder: Path | None

    def __post_init__(self) -> None:
        check(self.copies >= 1, f"{self.copies} pictures of each caption: draw 1 or more")
        check(self.training >= FEWEST, f"{self.training} training pictures to look at: give {FEWEST} or more")

    @property
    def everything(self) -> list[Extractor]:
        """All extractors that anything is measured with, each once."""
        clip = [self.clip] if self.clip is not None else []
        return list({one.id: one for one in (*self.extractors, PLACES, *clip)}.values())


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The pictures and their numbers: `rows` by what they ask. `asked` and `reference` are the held-out part."""

    asked: Real
    reference: Real
    train: Real
    drawn: Drawn
    texts: Features | None
    rows: Mapping[str, Sequence[Row]]
    returned: Returned | None


# ---------------------------------------------------------------------------------------------------
# Reading, drawing, measuring.


def examine(pipeline: Pipeline, order: Order, watch: Watch = SILENT) -> Found:
    """All that `captions` reports, as pictures and numbers."""
    size = pipeline.family.config.image_size
    learnt = open_pictures(order.data, size=size, split="train", seed=order.seed)
    canaries = planted.planted(order.data, learnt)
    asked, reference = _held_out(order, size, watch)
    most = min(len(learnt), order.training)
    train = gather(learnt, order.everything, most=most, watch=lambda done: watch("reading", done, most))
    check(len(train) >= FEWEST, f"{order.data}: {len(train)} training pictures can be read; {FEWEST} are needed")
    others = baselines(asked, train, order.everything)
    drawn = _draw(pipeline, order, asked.captions, order.copies, order.everything, "drawn", watch)
    texts = order.clip.texts(asked.captions) if order.clip is not None else None
    contenders = {MODEL: drawn.firsts, **others}
    by_ask = {}
    for asks, found in _measured(order, contenders, drawn, reference, train, texts):
        by_ask[asks] = found
        watch("measuring", len(by_ask), len(ASKS))
    returned = None
    if canaries:
        itself = planted.themselves(canaries, order.data, size)
        back = _draw(pipeline, order, itself.captions, DRAWINGS, [PLACES], "canaries", watch)
        returned = planted.returned(canaries, itself, back, train)
    return Found(asked, reference, train, drawn, texts, by_ask, returned)


def _draw(
    pipeline: Pipeline, order: Order, prompts: Sequence[str], copies: int, extractors: Sequence[Extractor], name: str,
    watch: Watch,
) -> Drawn:  # fmt: skip
    total = len(prompts) * copies
    return draw(
        pipeline, prompts, copies=copies, seed=order.seed, knobs=unparse(order.knobs), extractors=extractors,
        folder=order.folder and order.folder / name, watch=lambda done: watch(WHAT[name], done, total),
    )  # fmt: skip


def _held_out(order: Order, size: int, watch: Watch) -> tuple[Real, Real]:
    """The pictures whose captions are drawn, and those that all is measured against."""
    source = open_pictures(order.data, size=size, split="validation", seed=order.seed)
    captioned = sum(bool(caption(item)) for item in source.items)
    count = _count(order, captioned)
    most = min(captioned, count + REFERENCE)
    held = gather(
        source, order.everything, most=most, fits=lambda item: bool(caption(item)),
        watch=lambda done: watch("reading", done, most),
    )  # fmt: skip
    check(
        len(held) >= count + FEWEST,
        f"{order.data}: {len(held)} pictures of the validation split can be read, too few; run: limner data check "
        f"{order.data}",
    )
    return held[range(count)], held[range(count, len(held))]


def _count(order: Order, captioned: int) -> int:
    """How many captions are drawn: as many as was asked, or half."""
    here = f"{order.data}: the validation split has {captioned} pictures with captions"
    check(
        captioned >= 2 * FEWEST,
        f"{here}; the metrics need {2 * FEWEST}: {FEWEST} to draw for, and {FEWEST} to measure against; put more into "
        "validation/, or give more pictures, of which 5 % are held out",
    )
    count = min(captioned // 2, MOST) if order.count is None else order.count
    check(count >= FEWEST, f"{count} captions to draw for: the metrics need {FEWEST} or more")
    most = captioned - FEWEST
    check(count <= most, f"{here}, and {FEWEST} are to measure against: {most} can be drawn for, not {count}")
    return count


def _measured(
    order: Order, contenders: Contenders, drawn: Drawn, reference: Real, train: Real, texts: Features | None
) -> Iterator[tuple[str, list[Row]]]:
    """The rows of each of `ASKS`."""
    real, learnt, bootstrap = reference.features, train.features, order.bootstrap
    every = [extractor.id for extractor in order.extractors]
    near = rows(contenders, every, lambda one: measures.fidelity(real[one], bootstrap))
    heard: list[Row] = []
    if texts is not None:
        clip, heeded = texts.extractor, measures.alignment(texts, bootstrap)
        near += rows(contenders, [clip], lambda one: measures.embedded_fidelity(real[one], bootstrap))
        heard += rows(contenders, [clip], lambda one: heeded)
    yield "fidelity", near
    if len(measures.with_several(real[PLACES.id]) & set(drawn.prompts)) > 1:
        heard += rows(contenders, [PLACES.id], lambda one: measures.mean_error(real[one], bootstrap))
    yield "alignment", heard
    apart = rows(contenders, every, lambda one: measures.diversity(bootstrap))
    if order.copies > 1:
        apart += rows({MODEL: drawn.features}, every, lambda one: measures.diversity_within(bootstrap))
    yield "diversity", apart
    yield "memorisation", rows(contenders, every, lambda one: measures.memorisation(learnt[one], real[one], bootstrap))
