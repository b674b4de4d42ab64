"""Other people's prompts, and the folders in which their scorers look for pictures of them.

The layouts were read in the scorers: github.com/djghosh13/geneval (README.md, evaluation/evaluate_images.py) and
github.com/TencentQQGYLab/ELLA (dpg_bench/compute_dpg_bench.py).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Protocol

from PIL import Image

from limner.core import InputError, check
from limner.data.people.formats.listing import decoded
from limner.evaluate.suites.drawings import Drawing, drawings
from limner.pipeline import Pipeline
from limner.provenance import save_picture
from limner.store.files import replaced_folder

COPIES = 4  # pictures of a prompt, for both scorers


class Layout(Protocol):
    """Prompts of a file or folder, and how pictures of each are laid down."""

    @property
    def prompts(self) -> Sequence[str]: ...

    def write(self, folder: Path, place: int, pictures: Sequence[Drawing]) -> None:
        """The pictures of prompt number `place`."""
        ...


@dataclass(frozen=True, slots=True)
class GenEval:
    """`evaluation_metadata.jsonl`: a JSON object with "prompt" on each line.

    Prompt 0 goes to `00000/`: its line as `metadata.jsonl`, `samples/0000.png` and so on, and `grid.png`, which the
    scorer does not read. The scorer takes any number of pictures; four are usual.
    """

    prompts: Sequence[str]
    lines: Sequence[str]

    @staticmethod
    def read(path: Path) -> GenEval:
        lines = _lines(path)
        return GenEval([_prompt(line, f"{path} line {number}") for number, line in enumerate(lines, 1)], lines)

    def write(self, folder: Path, place: int, pictures: Sequence[Drawing]) -> None:
        inner = folder / f"{place:05}"
        for number, picture in enumerate(pictures):
            save_picture(picture.image, inner / "samples" / f"{number:04}.png", picture.settings)
        grid([picture.image for picture in pictures]).save(inner / "grid.png")
        (inner / "metadata.jsonl").write_text(f"{self.lines[place]}\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class DPGBench:
    """A folder of `NAME.txt`, a prompt each. `NAME.png` is a grid of two by two, with nothing between the four.

    The scorer is told the side of one picture (`--resolution`), and takes every file of the folder for a picture.
    """

    prompts: Sequence[str]
    names: Sequence[str]

    @staticmethod
    def read(path: Path) -> DPGBench:
        files = sorted(path.glob("*.txt"), key=lambda file: (len(file.stem), file.stem))
        check(bool(files), f"{path} holds no NAME.txt; DPG-Bench's prompts are a file each")
        for file in files:
            check("." not in file.stem, f"{file}: the scorer knows pictures by what is before the first dot; rename it")
        return DPGBench([_whole(file) for file in files], [file.stem for file in files])

    def write(self, folder: Path, place: int, pictures: Sequence[Drawing]) -> None:
        check(len(pictures) == COPIES, f"DPG-Bench wants {COPIES} pictures of a prompt, not {len(pictures)}")
        folder.mkdir(parents=True, exist_ok=True)
        grid([picture.image for picture in pictures]).save(folder / f"{self.names[place]}.png")


@dataclass(frozen=True, slots=True)
class Plain:
    """A text file, a prompt a line. `00000-0.png` and so on, listed with prompts and seeds in `metadata.jsonl`.

    So the folder is one of captioned pictures, which `--data` and `limner data preview` read.
    """

    prompts: Sequence[str]

    LIST: ClassVar[str] = "metadata.jsonl"

    @staticmethod
    def read(path: Path) -> Plain:
        return Plain(_lines(path))

    def write(self, folder: Path, place: int, pictures: Sequence[Drawing]) -> None:
        rows = []
        for number, picture in enumerate(pictures):
            name = f"{place:05}-{number}.png"
            save_picture(picture.image, folder / name, picture.settings)
            rows.append({"file_name": name, "text": self.prompts[place], "seed": picture.settings.seed})
        with (folder / self.LIST).open("w" if place == 0 else "a", encoding="utf-8") as file:
            file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def read(path: Path) -> Layout:
    """A folder is DPG-Bench's, a `.jsonl` is GenEval's, and anything else has a prompt a line.

    InputError, with file and line, for an empty line and what is no prompt.
    """
    try:
        if path.is_dir():
            return DPGBench.read(path)
        return GenEval.read(path) if path.suffix.lower() == ".jsonl" else Plain.read(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def lay_out(
    pipeline: Pipeline,
    prompts: Path,
    folder: Path,
    *,
    copies: int = COPIES,
    seed: int = 0,
    knobs: Mapping[str, Any] | None = None,
    watch: Callable[[int, int], object] = lambda done, total: None,
) -> int:
    """Draw `copies` pictures of each prompt, seeded one after the other from `seed`; says how many were drawn.

    They are kept in `unfinished(folder)` until all are there, so that one who was stopped and comes back goes on; then
    `folder` has them all at once. `watch` is told how many pictures are done, and of how many. InputError if `folder`
    holds anything: DPG-Bench's scorer would take it for a picture.
    """
    layout = read(prompts)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there already and holds something; name a folder that is new or empty")
    if isinstance(layout, DPGBench):
        check(copies == COPIES, f"{copies} pictures of a prompt: DPG-Bench's grids are of {COPIES}")
    requests = pipeline.requests(layout.prompts, copies=copies, seeds=seed, knobs=knobs)
    drawn = drawings(pipeline, requests, unfinished(folder))
    with replaced_folder(folder) as aside:
        for place in range(len(layout.prompts)):
            layout.write(aside, place, list(islice(drawn, copies)))
            watch((place + 1) * copies, len(requests))
    shutil.rmtree(unfinished(folder))
    return len(requests)


def unfinished(folder: Path) -> Path:
    """Where pictures wait until all are drawn."""
    return folder.with_name(f"{folder.name}-unfinished")


def grid(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size in rows of two, from the left, with nothing between them."""
    width, height = images[0].size
    page = Image.new("RGB", (2 * width if len(images) > 1 else width, -(-len(images) // 2) * height))
    for place, image in enumerate(images):
        page.paste(image, (place % 2 * width, place // 2 * height))
    return page


# ---------------------------------------------------------------------------------------------------
# Reading.


def _lines(path: Path) -> list[str]:
    """At least one, and none of them empty but what follows the last line's end."""
    lines = _text(path).split("\n")
    if lines[-1] == "":
        lines.pop()
    check(bool(lines), f"{path} is empty; write a prompt a line")
    for number, line in enumerate(lines, 1):
        check(bool(line.strip()), f"{path} line {number} is empty; write a prompt there, or remove the line")
    return [line.strip() for line in lines]


def _prompt(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"{where} is not JSON; GenEval's metadata has an object on each line") from None
    prompt = row.get("prompt") if isinstance(row, dict) else None
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f'{where} has no "prompt"; GenEval\'s metadata has one in each object')
    return prompt


def _whole(path: Path) -> str:
    prompt = " ".join(_text(path).split())
    check(bool(prompt), f"{path} line 1 is empty; write the prompt there")
    return prompt


def _text(path: Path) -> str:
    return decoded(path.read_bytes(), str(path))
