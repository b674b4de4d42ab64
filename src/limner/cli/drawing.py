"""What `limner draw` does: read prompts, name files, draw, save each batch as soon as it is done."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner import engine
from limner.canvas import Size, opened
from limner.core import InputError, Request, Sketch, check
from limner.drawing import OnStep
from limner.pipeline import Picture, Pipeline, check_rerank
from limner.provenance import format_of, save_picture
from limner.shelf import DEFAULT, find_judge

LONGEST_PROMPT = 2000  # characters
LONGEST_SLUG = 40  # characters, of up to four bytes each


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed."""

    prompts: Sequence[str]
    negative: str
    count: int
    seed: int | None
    knobs: Mapping[str, Any]
    model: str | None
    output: Path
    previews: bool
    rerank: int | None  # how many of each prompt's pictures are kept
    judge: str | None
    size: Size | None
    image: Path | None
    mask: Path | None
    strength: float | None
    extend: Mapping[str, int] | None
    exact: bool
    feather: int | None
    upscale: float
    precision: str
    compile: str


def carry_out(order: Order, *, say: Callable[[str], object]) -> None:
    began = time.perf_counter()
    _check_output(order.output)
    _check_reranking(order)
    image, mask = (None if path is None else opened(path) for path in (order.image, order.mask))
    pipe = Pipeline.from_pretrained(order.model or DEFAULT, precision=order.precision, compile=order.compile)
    if pipe.family.networks():  # large ones, whose buffers come again at each step; a small one is faster without
        engine.keep_memory()
    height, width = order.size or (None, None)
    canvas = pipe.canvas(
        height=height, width=width, image=image, mask_image=mask, extend=order.extend, exact=order.exact,
        feather=order.feather, upscale=order.upscale,
    )  # fmt: skip
    judge = find_judge(order.judge) if order.rerank is not None else None
    requests = pipe.requests(
        order.prompts, negative_prompt=order.negative, copies=order.count, seeds=order.seed, knobs=order.knobs,
        strength=order.strength, canvas=canvas,
    )  # fmt: skip
    several = len(order.prompts) * (order.rerank or order.count) > 1
    seeds = [request.seed for request in requests]
    paths = dict(zip(seeds, places(order.output, requests, several=several), strict=True))
    loaded = time.perf_counter()
    with _bar(2 * len(requests) if canvas.twice else len(requests)) as show:
        watch = _together(show, _keeper(pipe, paths)) if order.previews else show
        if judge is None:
            for picture in pipe.stream(requests, on_step=watch):
                _save(picture, paths, say)
        else:
            for group in pipe.ranked(requests, of=order.count, judge=judge, on_step=watch):
                _save_best(group, order.rerank or 0, paths, say)
    done = time.perf_counter()
    noun = "picture" if len(paths) == 1 else "pictures"
    say(f"{len(paths)} {noun} in {done - loaded:.1f} s, and {loaded - began:.1f} s to load {pipe.name}")


def _check_reranking(order: Order) -> None:
    if order.rerank is None:
        check(order.judge is None, "--judge says which pictures to keep, and --rerank how many: give it too")
        return
    check_rerank(order.rerank, of=order.count)
    check(not order.previews, "--previews keeps steps of every picture and --rerank the best alone: leave one out")


def _save(picture: Picture, paths: Mapping[int, Path], say: Callable[[str], object]) -> None:
    path, score = paths[picture.settings.seed], picture.settings.score
    save_picture(picture.image, path, picture.settings)
    say(str(path) if score is None else f"{path}  score {score:.3f}")


def _save_best(group: Sequence[Picture], keep: int, paths: Mapping[int, Path], say: Callable[[str], object]) -> None:
    """`group` is ranked, best first."""
    for picture in group[:keep]:
        _save(picture, paths, say)
    scores = [picture.settings.score or 0.0 for picture in group[keep:]]
    if scores:
        say(f"  not kept: {len(scores)} with scores from {scores[-1]:.3f} to {scores[0]:.3f}")


# ---------------------------------------------------------------------------------------------------
# Reading.


def prompts(given: Sequence[str], file: Path | None) -> list[str]:
    found = [prompt(text, "the prompt") for text in given]
    if file is not None:
        for number, line in enumerate(_lines(file), start=1):
            if line.strip():
                found.append(prompt(line.strip(), f"{file}, line {number}"))
    if not found and file is not None:
        raise InputError(f"{file} holds no prompt; write one a line")
    if not found:
        raise InputError('there is no prompt; write limner draw "a red balloon over a meadow", say')
    return found


def prompt(text: str, where: str) -> str:
    if len(text) > LONGEST_PROMPT:
        raise InputError(f"{where} has {len(text):,} characters; at most {LONGEST_PROMPT:,} are read: shorten it")
    return text


def knobs(pairs: Sequence[str], **options: float | None) -> dict[str, Any]:
    """Of --set's pairs and of the knobs that have an option of their own, each once; None: the option was not given."""
    found: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    for pair in pairs:
        key, sign, value = (part.strip() for part in pair.partition("="))
        check(bool(sign), f'--set "{pair}" is no knob=value, such as --set steps=20')
        check(key not in found, f"{key} is given twice, the second time by --set {pair}: give it once")
        found[key] = _value(value)
    return found


def size(text: str) -> Size:
    """ "768x512", the width first, as (height, width)."""
    found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text.strip().lower())
    check(found is not None, f'--size "{text}" is no width x height, such as --size 768x512')
    assert found
    return int(found[2]), int(found[1])


def margins(text: str) -> dict[str, int]:
    """ "left=128,right=128" by side."""
    pairs = [part.partition("=") for part in text.split(",")]
    whole = all(re.fullmatch(r"\d{1,9}", pixels.strip()) for _, _, pixels in pairs)
    check(whole, f'--extend "{text}" is no list of sides and pixels, such as --extend left=128,right=128')
    found = {side.strip(): int(pixels) for side, _, pixels in pairs}
    check(len(found) == len(pairs), f'--extend "{text}" has a side twice: give each once')
    return found


def _value(text: str) -> Any:
    """A number, true or false as in JSON; anything else is a word."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start})") from None


# ---------------------------------------------------------------------------------------------------
# Naming.


def places(output: Path, requests: Sequence[Request], *, several: bool) -> list[Path]:
    """A file's name as it is, with seeds where `several` pictures are kept; in a folder names that are free."""
    if _is_file(output):
        return [output.with_stem(f"{output.stem}-{one.seed}") if several else output for one in requests]
    return [_free(output, f"{slug(request.prompt)}-{request.seed}") for request in requests]


def slug(text: str) -> str:
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).lower())
    return "-".join(words)[:LONGEST_SLUG].strip("-") or "untitled"


def _is_file(output: Path) -> bool:
    return bool(output.suffix) and not output.is_dir()


def _check_output(output: Path) -> None:
    """Before minutes are spent on what could not be kept."""
    if _is_file(output):
        format_of(output)
    folder = output.parent if _is_file(output) else output
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    check(there.is_dir(), f"{output} cannot be written, since {there} is no folder: name another place")
    check(
        os.access(there, os.W_OK | os.X_OK), f"{output} cannot be written, since {there} may not be: name another place"
    )


def _free(folder: Path, stem: str) -> Path:
    path, number = folder / f"{stem}.png", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.png"
    return path


# ---------------------------------------------------------------------------------------------------
# Watching.


def _keeper(pipe: Pipeline, places: Mapping[int, Path]) -> OnStep:
    """Writes previews into a folder beside each picture, which is found by its seed."""

    def keep(sketches: Sequence[Sketch]) -> None:
        for sketch, picture in zip(sketches, pipe.previews(sketches), strict=True):
            if picture is not None:
                path = places[sketch.request.seed]
                time = "second-" if picture.settings.twice else ""
                aside = path.with_name(f"{path.stem}-steps") / f"{time}{sketch.step:03}{path.suffix}"
                save_picture(picture.image, aside, picture.settings)

    return keep


def _together(*watchers: OnStep) -> OnStep:
    def watch(sketches: Sequence[Sketch]) -> None:
        for one in watchers:
            one(sketches)

    return watch


@contextlib.contextmanager
def _bar(count: int) -> Iterator[OnStep]:
    """A progress bar where there is a terminal to show it on."""
    if not sys.stderr.isatty():
        yield lambda sketches: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task, finished = bar.add_task("drawing", total=count), 0

        def show(sketches: Sequence[Sketch]) -> None:
            nonlocal finished
            part = sum(sketch.step / sketch.steps for sketch in sketches)
            bar.update(task, completed=finished + part)
            finished += len(sketches) if all(sketch.done for sketch in sketches) else 0

        yield show
