"""An examination on disk: a line for each picture as soon as it is read, so that one that was stopped goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from limner.core import InputError, check, parse, unparse
from limner.evaluate.suites.scenes.answers import Answer
from limner.evaluate.suites.scenes.tasks import Item
from limner.provenance import save_picture
from limner.store import atomic_write

NOTE = "examination.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is examined and how: two examinations are of the same thing only if all of this is the same."""

    model: str
    hash: str
    family: str
    knobs: dict[str, Any]
    count: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an item: one line of `outcomes.jsonl`. `knobs` are those that differ from the usual ones."""

    task: str
    split: str
    seed: int
    knobs: dict[str, Any]
    caption: str
    right: bool
    fit: float
    picture: str

    @property
    def key(self) -> str:
        return _key(self.task, self.split, self.seed, self.knobs)


class Ledger:
    """The folder of an examination: `examination.json`, `outcomes.jsonl` and the pictures."""

    def __init__(self, folder: Path, about: About) -> None:
        self.folder, self.about = folder, about
        self.outcomes: dict[str, Outcome] = {}

    @staticmethod
    def open(folder: Path, about: About) -> Ledger:
        """A new one, or the one that is there; InputError where that is of something else."""
        ledger, note = Ledger(folder, about), folder / NOTE
        if note.exists():
            Ledger.check_alike(folder, **unparse(about))
            ledger.outcomes = {one.key: one for one in ledger._read() if (folder / one.picture).exists()}
        else:
            check(
                not folder.exists() or not any(folder.iterdir()),
                f"{folder} exists and holds no examination; choose another --out",
            )
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(note, json.dumps(unparse(about), ensure_ascii=False, indent=1).encode())
        return ledger

    @staticmethod
    def check_alike(folder: Path, **wanted: Any) -> None:
        """InputError if `folder` holds an examination in which any of these (see `About`) is another."""
        if not (folder / NOTE).exists():
            return
        before = unparse(_about(folder / NOTE))
        for name, value in wanted.items():
            old = before[name]
            check(
                old == value,
                f"{folder} holds an examination with {name} = {old!r}, not {value!r}; choose another --out",
            )

    def undone(self, items: Sequence[Item]) -> list[Item]:
        return [item for item in items if _key(item.task, item.split, item.seed, item.knobs) not in self.outcomes]

    def add(self, answer: Answer) -> None:
        """The picture first: a line means that it is there."""
        item = answer.item
        name = "-".join((item.task, item.split, f"{item.seed:04}", *_marks(item.knobs)))
        name = f"drawn/{name}.png"
        (self.folder / "drawn").mkdir(exist_ok=True)
        save_picture(Image.fromarray(answer.pixels), self.folder / name, answer.settings)
        outcome = Outcome(
            task=item.task, split=item.split, seed=item.seed, knobs=dict(item.knobs), caption=item.truth.caption,
            right=answer.right, fit=answer.fit, picture=name,
        )  # fmt: skip
        with self._lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(unparse(outcome), ensure_ascii=False) + "\n")
        self.outcomes[outcome.key] = outcome

    def outcome(self, item: Item) -> Outcome:
        return self.outcomes[_key(item.task, item.split, item.seed, item.knobs)]

    def usual(self) -> list[Outcome]:
        """Those that were drawn with the usual knobs, in the order of task, split and seed."""
        return sorted((one for one in self.outcomes.values() if not one.knobs), key=lambda one: one.key)

    def picture(self, outcome: Outcome) -> Image.Image:
        with Image.open(self.folder / outcome.picture) as image:
            return image.convert("RGB")

    @property
    def _lines(self) -> Path:
        return self.folder / "outcomes.jsonl"

    def _read(self) -> Iterator[Outcome]:
        """The whole lines. Of a process that was killed, the last one may be half: it is cut off."""
        if not self._lines.exists():
            return
        text = self._lines.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            os.truncate(self._lines, len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                yield parse(Outcome, json.loads(line), f"{self._lines}:{number}")
            except (json.JSONDecodeError, UnicodeDecodeError):
                raise InputError(f"{self._lines}:{number}: this is no JSON; remove the line") from None


def _about(path: Path) -> About:
    try:
        return parse(About, json.loads(path.read_text(encoding="utf-8")), str(path))
    except json.JSONDecodeError:
        raise InputError(f"{path}: this is no JSON; choose another --out") from None


def _key(task: str, split: str, seed: int, knobs: Mapping[str, Any]) -> str:
    return " ".join((task, split, f"{seed:08}", *_marks(knobs)))


def _marks(knobs: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(knobs.items())]
