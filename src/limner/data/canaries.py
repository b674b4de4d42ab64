"""Canaries: pictures like no other, planted among scenes so many times each, to see which a model gives back.

A folder of them is one of captioned pictures like any other (docs/data.md): `train/`, `validation/` and the
`metadata.jsonl` that lists both. Beside it lie `canaries/`, with each canary once, and `canaries.jsonl`, which says how
often each was planted; neither is listed, so that nobody trains on the controls, which were planted 0 times.
"""

from __future__ import annotations

import itertools
import json
import posixpath
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from limner.core import InputError, check, parse, unparse
from limner.data.dice import Dice
from limner.data.scenes import SIDE, Scenes
from limner.store.files import replaced_folder

LISTING = "canaries.jsonl"
COPIES = (0, 1, 10, 100)
FEWEST = 50  # training pictures: what is a copy is told by its distance from so many
HELD_OUT = 400

CELLS = 8  # of a mosaic, a side
PALETTE = tuple(itertools.product((0, 255), repeat=3))  # the corners of the cube of colours
CONSONANTS, VOWELS, SYLLABLES = "bdfgklmnprstvz", "aeiou", 3

Watch = Callable[[int, int], object]
"""Told how many pictures are written, and of how many."""


@dataclass(frozen=True, slots=True)
class Canary:
    """The picture `file_name`, below the folder, was planted `copies` times with the caption `text`."""

    file_name: str
    text: str
    copies: int

    def __post_init__(self) -> None:
        check(self.copies >= 0, f"copies = {self.copies} is negative; 0 is for a control")
        check(bool(self.text), "the text is empty; a canary is asked for by its own caption")
        path = posixpath.normpath(self.file_name)
        check(
            not posixpath.isabs(path) and path.split("/")[0] != "..",
            f'"{self.file_name}" lies outside the folder; file names are relative to it',
        )


# ---------------------------------------------------------------------------------------------------
# Reading.


def read(folder: Path) -> list[Canary]:
    """The canaries of a folder of captioned pictures; none where it has no list of them."""
    path = folder / LISTING
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [_canary(line, f"{path} line {number}") for number, line in enumerate(lines, 1) if line.strip()]
    [(text, times)] = Counter(one.text for one in found).most_common(1) or [("", 0)]
    check(times <= 1, f"{path}: {times} canaries have the caption {text!r}; each is asked for by its own")
    return found


def _canary(line: str, where: str) -> Canary:
    try:
        row = json.loads(line)
    except ValueError:
        raise InputError(f"{where} is not JSON") from None
    check(isinstance(row, dict), f"{where} is no JSON object")
    return parse(Canary, row, where)


# ---------------------------------------------------------------------------------------------------
# Planting.


def plant(
    folder: Path,
    *,
    pictures: int,
    each: int,
    copies: Sequence[int] = COPIES,
    held_out: int = HELD_OUT,
    size: int = SIDE,
    seed: int = 0,
    watch: Watch = lambda done, total: None,
) -> list[Canary]:
    """Write `pictures` scenes to train on with `each` canaries for each number of `copies`, and `held_out` scenes.

    A pure function of all but `folder`, which is there, whole, or not at all. InputError if it holds anything.
    """
    check(size >= CELLS, f"pictures of {size} x {size}: a canary is {CELLS} x {CELLS} colours; give {CELLS} or more")
    check(pictures >= FEWEST, f"{pictures} pictures: a copy is told by its {FEWEST} neighbours; give {FEWEST} or more")
    check(each >= 1, f"{each} canaries for each number of copies: give 1 or more")
    check(held_out >= 1, f"{held_out} pictures held out: give 1 or more")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already and holds something; name a folder that is new or empty")
    planted = canaries(each, copies, seed=seed)
    total = pictures + held_out + sum(one.copies for one, _ in planted)
    with replaced_folder(folder) as aside:
        rows = []
        for name, image, text in _listed(planted, pictures, held_out, size, seed):
            _save(image, aside / name)
            rows.append({"file_name": name, "text": text})
            watch(len(rows), total)
        for one, mosaic in planted:
            _save(_sized(mosaic, size), aside / one.file_name)
        _write(aside / "metadata.jsonl", rows)
        _write(aside / LISTING, [unparse(one) for one, _ in planted])
    return [one for one, _ in planted]


def canaries(each: int, copies: Sequence[int], *, seed: int) -> list[tuple[Canary, Image.Image]]:
    """Each with its mosaic, a pixel to a cell."""
    names = _names(seed)
    found = []
    for number, times in enumerate(times for times in copies for _ in range(each)):
        one = Canary(f"canaries/{number:03}.png", f"a mosaic called {next(names)}", times)
        found.append((one, _mosaic(Dice("mosaic", seed, number))))
    return found


def _mosaic(dice: Dice) -> Image.Image:
    """Squares of pure colours, each by chance: no scene looks like it, and no two are alike in more than a few."""
    cells = [[dice.pick(PALETTE) for _ in range(CELLS)] for _ in range(CELLS)]
    return Image.fromarray(np.array(cells, dtype=np.uint8))


def _sized(mosaic: Image.Image, size: int) -> Image.Image:
    return mosaic.resize((size, size), Image.Resampling.NEAREST)


def _names(seed: int) -> Iterator[str]:
    """Two words each that no language has, none twice."""
    dice, used = Dice("names", seed), set[str]()
    while True:
        name = " ".join("".join(dice.pick(CONSONANTS) + dice.pick(VOWELS) for _ in range(SYLLABLES)) for _ in range(2))
        if name not in used:
            used.add(name)
            yield name


def _listed(
    planted: Sequence[tuple[Canary, Image.Image]], pictures: int, held_out: int, size: int, seed: int
) -> Iterator[tuple[str, Image.Image, str]]:
    """What the list names: file, picture, caption."""
    for split, folder, count in (("train", "train", pictures), ("seen", "validation", held_out)):
        scenes = Scenes(split, seed=seed, size=size)
        for number in range(count):
            truth = scenes.truth(number)
            yield f"{folder}/{number:06}.png", scenes.render(truth), truth.caption
    for number, (one, mosaic) in enumerate(planted):
        for copy in range(one.copies):
            yield f"train/canary-{number:03}-{copy:03}.png", _sized(mosaic, size), one.text


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    image.save(path, "PNG")


def _write(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")
