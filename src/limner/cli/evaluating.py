"""What `limner eval` does: examine, with the time left shown, and write the report."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from limner.core import InputError, check, nearest
from limner.evaluate.extractors import CLEAN, DINOv2, DualEncoder, ImageEncoder, Inception
from limner.evaluate.features import Extractor
from limner.evaluate.suites import captions, layouts, scenes
from limner.evaluate.suites.captions.examination import WHAT
from limner.pipeline import Pipeline
from limner.shelf import DEFAULT, JUDGE, find_judge, find_model, name_of

EVALUATIONS = Path("evaluations")
SCENES, CAPTIONS = "scenes", "captions"
TASKWISE = 100  # captions of each task of the scenes, where nobody says how many
TENTHS = 10

EXTRACTORS: Mapping[str, Callable[[Path], Extractor]] = {
    "inception": Inception.load,
    "inception-clean": partial(Inception.load, resize=CLEAN),
    "dinov2": DINOv2.load,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed."""

    model: str | None
    suite: str | None
    data: Path | None
    prompts: Path | None
    n: int | None
    seed: int
    knobs: dict[str, Any]
    judge: str | None
    extractors: tuple[str, ...]
    out: Path | None

    def __post_init__(self) -> None:
        check(self.suite != SCENES or self.data is None, "--suite scenes makes its own data: leave out --data")
        check(self.suite != CAPTIONS or self.data is not None, "--suite captions asks for captions: give --data PATH")
        asked = [name for name in ("suite", "data", "n", "judge", "extractors") if getattr(self, name)]
        if self.prompts is not None and asked:
            raise InputError(f"--prompts only draws, and has no use for --{asked[0].removesuffix('s')}: leave it out")

    @property
    def named(self) -> str:
        return DEFAULT if self.model is None else self.model

    def folder(self, what: str = "") -> Path:
        return self.out or EVALUATIONS / f"{name_of(find_model(self.named))}{what}"


def show(order: Order) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        _show(order, console)
    except KeyboardInterrupt:
        console.print("All that is drawn is kept: the same command goes on")
        raise


def _show(order: Order, console: Console) -> None:
    if order.prompts is not None:
        folder = _drawn(order, order.prompts, console)
        Console().print(f"The pictures: {folder}", soft_wrap=True, highlight=False)
        return
    folder = _on_captions(order, order.data, console) if order.data else _on_scenes(order, console)
    Console().print(f"The report: {folder / 'report.html'} (and .md, .json)", soft_wrap=True, highlight=False)


def _on_scenes(order: Order, console: Console) -> Path:
    folder, extractors = order.folder(), handed_in(order.extractors, order.judge or JUDGE)
    with watching(console) as watch:
        ledger = scenes.run(
            order.named, folder, count=order.n or TASKWISE, seed=order.seed, knobs=order.knobs,
            begin=watch.begin, advance=watch.advance,
        )  # fmt: skip
    console.print("Measuring the pictures' likeness to real ones, and writing the report")
    scenes.report(ledger, extractors).write(folder)
    return folder


def _on_captions(order: Order, data: Path, console: Console) -> Path:
    folder, extractors = order.folder("-captions"), handed_in(order.extractors, order.judge)
    _check_free(folder)
    pipeline = Pipeline.from_pretrained(order.named)
    clip = next((one for one in extractors if isinstance(one, DualEncoder)), None)
    others = [one for one in extractors if one is not clip]
    with watching(console) as watch:
        report = captions.captions(
            pipeline, data, count=order.n, seed=order.seed, knobs=order.knobs, extractors=others, clip=clip,
            folder=folder, watch=watch.stage,
        )  # fmt: skip
    report.write(folder)
    return folder


def _check_free(folder: Path) -> None:
    """It may hold the pictures of one that was stopped, and nothing else: nobody's report is written over."""
    if folder.exists() and (not folder.is_dir() or {one.name for one in folder.iterdir()} - set(WHAT)):
        raise InputError(f"{folder} is there already and holds something; name a new folder by --out")


def _drawn(order: Order, prompts: Path, console: Console) -> Path:
    folder = order.folder("-prompts")
    pipeline = Pipeline.from_pretrained(order.named)
    with watching(console) as watch:
        stage = partial(watch.stage, "drawing")
        layouts.lay_out(pipeline, prompts, folder, seed=order.seed, knobs=order.knobs, watch=stage)
    return folder


def handed_in(files: Sequence[str], judge: str | None) -> list[Extractor]:
    """The extractors of KIND=FILE, and a CLIP as the last."""
    found = [*map(_extractor, files)]
    if judge is not None:
        clip = find_judge(judge)
        found.append(DualEncoder(ImageEncoder.of(clip), clip.embed_texts))
    return found


def _extractor(text: str) -> Extractor:
    kind, equals, file = text.partition("=")
    if not equals or kind not in EXTRACTORS:
        known = ", ".join(EXTRACTORS)
        raise InputError(f'"{text}" is no KIND=FILE with a kind of {known}{nearest(kind, list(EXTRACTORS))}')
    return EXTRACTORS[kind](Path(file))


# ---------------------------------------------------------------------------------------------------
# Watching.


@contextlib.contextmanager
def watching(console: Console) -> Iterator[Watch]:
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield Watch(bar)


class Watch:
    """What is being done, how far it is, and the time left; a line for each tenth where there is no terminal."""

    def __init__(self, bar: Progress) -> None:
        self._bar, self._task = bar, bar.add_task("")
        self._what, self._done, self._total = "", 0, 0

    def begin(self, done: int, total: int) -> None:
        self._bar.console.print(f"{total:,} pictures" + (f", of which {done:,} are there already" if done else ""))
        self.stage("drawing and reading", done, total)

    def advance(self) -> None:
        self.stage(self._what, self._done + 1, self._total)

    def stage(self, what: str, done: int, total: int) -> None:
        """`done` of `total` of what is being done."""
        if what != self._what:
            self._bar.reset(self._task, description=what, total=total, completed=done)
        elif self._bar.disable and done * TENTHS // total > self._done * TENTHS // total:
            self._bar.console.print(f"{what}: {done:,} of {total:,}")
        self._what, self._done, self._total = what, done, total
        self._bar.update(self._task, completed=done, total=total)
