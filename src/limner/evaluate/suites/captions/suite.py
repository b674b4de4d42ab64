"""The suite `captions`: how a model's pictures of held-out captions compare, for anybody's captioned pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from limner.core import unparse
from limner.data.people.preview import sheet
from limner.evaluate.bootstrap import USUAL, Bootstrap
from limner.evaluate.extractors import Pixels, RandomNetwork
from limner.evaluate.features import Extractor
from limner.evaluate.metrics import nearest_training
from limner.evaluate.metrics.alignment import cosines
from limner.evaluate.report import Report, Section
from limner.evaluate.score import Score, spans
from limner.evaluate.suites.captions import planted
from limner.evaluate.suites.captions.contenders import MEAN, NEAREST
from limner.evaluate.suites.captions.examination import SILENT, Clip, Found, Order, Watch, examine
from limner.evaluate.suites.measures import MODEL, OTHER, REAL, Cell, Missing, Row
from limner.pipeline import Pipeline

RANDOM, EXTREME, PAIRS = 24, 12, 12  # pictures shown
COLUMNS = (MODEL, REAL, OTHER, NEAREST, MEAN)
SAME = "≈"

HEADINGS = {
    "fidelity": "How near to real pictures",
    "alignment": "What was asked for",
    "diversity": "How different from one another",
    "memorisation": "Whether pictures are remembered",
}
READING = {
    "fidelity": (
        "Less is nearer: Frechet distance, KID, CMMD. More is nearer: precision, recall, density, coverage. The noise "
        "floor is what as many real pictures would have. None of these hears the words: real pictures of another "
        "caption are as real as those of their own."
    ),
    "alignment": (
        "More is better: CLIPScore, R-precision. Less is better: the error from the mean of a caption's real pictures, "
        "which rewards blur; its floor is what that mean itself would have."
    ),
    "diversity": (
        "The Vendi score is the number of different pictures, in effect; it grows with their number, and noise has the "
        "most. Within a prompt it is of the pictures that the model drew for one caption."
    ),
    "memorisation": (
        "A nearest training ratio near 0, an authenticity far below that of the real pictures or a C_T below -3 mean "
        "copies. Training pictures themselves, nearest by caption, show what these say of copies."
    ),
}


def captions(
    pipeline: Pipeline,
    data: Path,
    *,
    count: int | None = None,
    copies: int = 2,
    seed: int = 0,
    knobs: Mapping[str, Any] | None = None,
    extractors: Sequence[Extractor] = (),
    clip: Clip | None = None,
    training: int = 10_000,
    bootstrap: Bootstrap = USUAL,
    folder: Path | None = None,
    watch: Watch = SILENT,
) -> Report:
    """Draw `copies` pictures of each of `count` captions of the held-out part of `data`, and measure them.

    Half of the held-out part, or what `count` leaves of it, is the reference; of the pictures to train on, at most
    `training` are looked at. `extractors` are random convolutions and pixels where none are given. Pictures are
    kept in `folder`, and not drawn again by one who comes back. InputError, before anything is drawn, where there is no
    held-out part, or too little of anything.
    """
    order = Order(
        data=data, count=count, copies=copies, seed=seed, knobs=pipeline.knobs(knobs or {}),
        extractors=tuple(extractors or (RandomNetwork(), Pixels())), clip=clip, training=training, bootstrap=bootstrap,
        folder=folder,
    )  # fmt: skip
    return report(pipeline, order, examine(pipeline, order, watch))


def report(pipeline: Pipeline, order: Order, found: Found) -> Report:
    """For people and programs."""
    size = found.asked.size
    name = pipeline.name or "a model"
    pictures = {"alignment": _extremes(found, size), "memorisation": _pairs(order, found, size)}
    tables = [replace(_table(asks, rows), pictures=pictures.get(asks, {})) for asks, rows in found.rows.items()]
    sections = [_random(found, size), *tables]
    if found.returned is not None:
        sections.append(planted.section(found.returned, size))
    sections.append(_measured_with(order))
    lead = (
        f"{name} ({pipeline.hash[:12]}) drew {order.copies} pictures of each of {len(found.asked)} captions from the "
        f"held-out part of {order.data}, and is measured by the first of each, beside other pictures for the same "
        f"captions, against {len(found.reference)} other held-out pictures and {len(found.train)} to train on. "
        f"Intervals are of 95 %, over captions; {SAME} is what the model cannot be told apart from."
    )
    return Report(f"{name}: captions", lead, sections, _data(pipeline, order, found))


# ---------------------------------------------------------------------------------------------------
# Tables.


def _table(asks: str, rows: Sequence[Row]) -> Section:
    if not rows:
        none = "Nothing: there is no CLIP, and too few captions have several held-out pictures."
        return Section(HEADINGS[asks], none)
    floors = any(isinstance(row.first, Score) and row.first.floor is not None for row in rows)
    columns = ["metric", "features", *COLUMNS, *(["noise floor"] if floors else [])]
    cells = [
        [
            row.first.metric,
            row.first.extractor.name,
            *(_cell(row, name) for name in COLUMNS),
            *([_floor(row.first)] * floors),
        ]
        for row in rows
    ]
    return Section(HEADINGS[asks], "\n\n".join([READING[asks], *filter(None, map(_why, rows))]), columns, cells)


def _why(row: Row) -> str:
    """What has no number, and why; nothing where all have one."""
    missing = {name: cell for name, cell in row.cells.items() if isinstance(cell, Missing)}
    reasons = "; ".join(dict.fromkeys(cell.why for cell in missing.values()))
    return f"{row.first.metric} of {row.first.extractor.name}, {', '.join(missing)}: {reasons}." if missing else ""


def _cell(row: Row, name: str) -> str:
    cell = row.cells.get(name)
    if not isinstance(cell, Score):
        return "" if cell is None else "none"
    low, high = map(_number, cell.interval)
    same = name in row.differences and not row.differences[name].called
    return f"{SAME} " * same + f"{_number(cell.value)} ({low} to {high})"


def _floor(cell: Cell) -> str:
    return _number(cell.floor) if isinstance(cell, Score) and cell.floor is not None else ""


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _measured_with(order: Order) -> Section:
    rows = [[one.id.name, one.id.hash[:12], one.id.resize] for one in order.everything]
    text = f"Seeds from {order.seed} on; {order.bootstrap.resamples} resamples of the captions."
    return Section("What it was measured with", text, ["extractor", "hash", "resize"], rows)


# ---------------------------------------------------------------------------------------------------
# Pictures.

Tile = tuple[Image.Image, str]


def _random(found: Found, size: int) -> Section:
    """The captions are in an order of chance already."""
    shown = sheet(_drawn(found, range(min(RANDOM, len(found.asked)))), size)
    return Section("At random", pictures={"Pictures of held-out captions": shown})


def _extremes(found: Found, size: int) -> dict[str, Image.Image]:
    """The best and the worst, by the CLIP."""
    if found.texts is None:
        return {}
    near = cosines(found.drawn.firsts[found.texts.extractor], found.texts)
    order = near.argsort(descending=True).tolist()
    shown = min(EXTREME, len(order) // 2)
    best, worst = (_drawn(found, rows) for rows in (order[:shown], order[::-1][:shown]))
    return {"The best by CLIPScore": sheet(best, size), "The worst by CLIPScore": sheet(worst, size)}


def _pairs(order: Order, found: Found, size: int) -> dict[str, Image.Image]:
    """The pictures that are nearest to a training picture, by the first extractor."""
    by = order.extractors[0].id
    near = nearest_training(found.drawn.firsts[by], found.train.features[by])
    tiles: list[Tile] = []
    for row in near.distances[:, 0].argsort().tolist()[:PAIRS]:
        place, distance = int(near.places[row, 0]), float(near.distances[row, 0])
        said = found.train.captions[place]
        tiles += _drawn(found, [row])
        tiles.append((found.train.image(place), f"in training, at {_number(distance)}: {said}"))
    return {f"The pictures nearest to one of the training pictures, by {by.name}": sheet(tiles, size, columns=6)}


def _drawn(found: Found, rows: Sequence[int]) -> list[Tile]:
    """The first pictures of these captions."""
    return [(found.drawn.images[found.drawn.first[row]], found.drawn.prompts[row]) for row in rows]


# ---------------------------------------------------------------------------------------------------
# For programs.


def _data(pipeline: Pipeline, order: Order, found: Found) -> dict[str, Any]:
    return {
        "suite": "captions",
        "model": pipeline.name,
        "hash": pipeline.hash,
        "data": str(order.data),
        "size": found.asked.size,
        "knobs": unparse(order.knobs),
        "captions": len(found.asked),
        "pictures_of_each": order.copies,
        "seeds": spans(found.drawn.seeds),
        "seed": order.seed,
        "reference": len(found.reference),
        "training": len(found.train),
        "rows": {asks: [row.to_json() for row in rows] for asks, rows in found.rows.items()},
        "canaries": None if found.returned is None else found.returned.to_json(),
    }
