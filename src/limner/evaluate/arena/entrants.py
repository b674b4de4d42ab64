"""Who takes part: a model that draws, or a folder of pictures that somebody has drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from limner import store
from limner.core import InputError, Request, check, unparse
from limner.drawing import OnStep
from limner.evaluate.arena.records import Contestant
from limner.evaluate.arena.subjects import Subject, numbered
from limner.pipeline import Pipeline
from limner.provenance import FORMATS, Settings, read_picture_settings, save_picture
from limner.shelf import shipped
from limner.store.files import sha256

SHORT = 16  # letters of a hash in the name of a file


class Model:
    """Draws each subject once, into `folder`; its seed depends on the subject alone, and so is the same for all models.

    The hash of the contestant is that of the weights and the knobs.
    """

    def __init__(self, run: str, folder: Path, *, seed: int, knobs: Mapping[str, Any]) -> None:
        self._pipeline = Pipeline.from_pretrained(run)
        self._knobs, self._seed = knobs, seed
        typed = unparse(self._pipeline.knobs(knobs))
        self.contestant = Contestant(self._pipeline.name, _digest([self._pipeline.hash, typed]), run)
        self._folder = folder / f"{self._pipeline.name}-{self.contestant.hash[:8]}"

    def offers(self, subject: Subject) -> bool:
        """Whether there is a picture of it, or will be."""
        return True

    def picture(self, subject: Subject) -> Path | None:
        """Where it is, if it is there."""
        place = self._place(self._request(subject))
        return place if place.is_file() else None

    def draw(self, subjects: Sequence[Subject], on_step: OnStep) -> Iterator[tuple[Subject, Path]]:
        """Each picture as soon as its batch is done and it lies in its file."""
        requests = [self._request(subject) for subject in subjects]
        pictures = self._pipeline.stream(requests, on_step=on_step)
        for subject, request, picture in zip(subjects, requests, pictures, strict=True):
            save_picture(picture.image, self._place(request), picture.settings)
            yield subject, self._place(request)

    def _request(self, subject: Subject) -> Request:
        seed = int(_digest([self._seed, *subject])[:8], 16)
        [request] = self._pipeline.requests(subject.prompt, seeds=seed, knobs=self._knobs)
        return request

    def _place(self, request: Request) -> Path:
        """Named by all that decides what the picture looks like, so that a picture that is there is the right one."""
        return self._folder / f"{_digest([self.contestant.hash, request.prompt, request.seed])[:SHORT]}.png"


class Folder:
    """Pictures that carry their prompts. Several of one prompt are its takes, in the order of their seeds.

    The hash of the contestant is that of the pictures: with another picture in it, a folder is another contestant.
    """

    def __init__(self, path: Path, say: Callable[[str], object]) -> None:
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in FORMATS and file.is_file())
        found = {file: settings for file in files if (settings := _finished(file)) is not None}
        if not found:
            holds = f"none of its {len(files)} pictures carries the prompt it was drawn with" if files else "no picture"
            raise InputError(f"{path} is no model, and as a folder of pictures it holds {holds}; see docs/arena.md")
        if len(found) < len(files):
            say(f"{path}: {len(files) - len(found)} of {len(files)} pictures carry no prompt, and are left out")
        order = sorted(found, key=lambda file: (found[file].seed, file))
        self.pictures = dict(zip(numbered(_storable(found[file].prompt) for file in order), order, strict=True))
        self.contestant = Contestant(path.resolve().name, _digest(sorted(map(sha256, order))), str(path))

    def offers(self, subject: Subject) -> bool:
        return subject in self.pictures

    def picture(self, subject: Subject) -> Path | None:
        return self.pictures.get(subject)


Entrant = Model | Folder


def find(
    runs: Sequence[str], drawings: Path, *, seed: int, knobs: Mapping[str, Any], say: Callable[[str], object]
) -> list[Entrant]:
    """Who was named: shipped models, models' and runs' folders, folders of pictures. Models draw into `drawings`.

    InputError if there are fewer than two, if one is neither, or if two are the same.
    """
    check(bool(runs), "there is nobody to compare; name two or more models, runs or folders of pictures")
    check(len(runs) > 1, f"{runs[0]} has nobody to be compared with; name another model, run or folder of pictures")
    found = [_open(run, drawings, seed=seed, knobs=knobs, say=say) for run in runs]
    for one, other in combinations((entrant.contestant for entrant in found), 2):
        same = (
            f"{one.origin} is named twice"
            if one.origin == other.origin
            else f"{one.origin} and {other.origin} are the same"
        )
        check(one.hash != other.hash, f"{same}; name each once")
    return found


def common(entrants: Sequence[Entrant], asked: Sequence[Subject] | None, *, most: int | None = None) -> list[Subject]:
    """The first `most` subjects that two or more can show: of those asked for, or else of all that lie in folders.

    InputError if somebody has none of them.
    """
    if asked is None:
        asked = list(dict.fromkeys(subject for one in entrants if isinstance(one, Folder) for subject in one.pictures))
    found = [subject for subject in asked if sum(one.offers(subject) for one in entrants) > 1][:most]
    for one in entrants:
        shown = any(one.offers(subject) for subject in found)
        check(
            shown, f"{one.contestant.origin} has no picture of a prompt that another shows too; compare like with like"
        )
    return found


def _open(run: str, drawings: Path, *, seed: int, knobs: Mapping[str, Any], say: Callable[[str], object]) -> Entrant:
    path = Path(run)
    if path.is_dir() and run not in shipped() and not any(map(store.holds_model, (path, path / "model"))):
        return Folder(path, say)
    return Model(run, drawings, seed=seed, knobs=knobs)


def _finished(file: Path) -> Settings | None:
    """What a picture was drawn with, unless it says nothing or is a preview."""
    settings = read_picture_settings(file)
    return settings if settings is not None and settings.step is None else None


def _storable(prompt: str) -> str:
    """Lone surrogates, which no file and no page can hold, become question marks."""
    return prompt.encode("utf-8", "replace").decode()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
