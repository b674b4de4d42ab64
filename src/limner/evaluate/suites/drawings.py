"""Pictures for requests, each on disk as soon as it is drawn: a suite that was stopped goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from limner.core import InputError, Request, unparse
from limner.pipeline import Pipeline
from limner.provenance import Settings, read_picture_settings, read_pixels, save_picture


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture with all that it was drawn with."""

    image: Image.Image
    settings: Settings


def drawings(pipeline: Pipeline, requests: Sequence[Request], folder: Path | None = None) -> Iterator[Drawing]:
    """In the order of the requests; what `folder` has of them is not drawn again.

    InputError, before anything is drawn, if a picture there was drawn by another model or with other settings.
    """
    if folder is None:
        yield from (Drawing(picture.image, picture.settings) for picture in pipeline.stream(requests))
        return
    held = _held(pipeline, requests, folder)
    drawn = pipeline.stream([request for place, request in enumerate(requests) if place not in held])
    for place in range(len(requests)):
        path = _path(folder, place)
        if place in held:
            yield Drawing(read_pixels(path), held[place])
            continue
        picture = next(drawn)
        save_picture(picture.image, path, picture.settings)
        yield Drawing(picture.image, picture.settings)


def _held(pipeline: Pipeline, requests: Sequence[Request], folder: Path) -> dict[int, Settings]:
    """By the number of the request, what its picture was drawn with."""
    held = {}
    for place, request in enumerate(requests):
        path = _path(folder, place)
        if path.exists():
            held[place] = _as_asked(path, pipeline, request)
    return held


def _as_asked(path: Path, pipeline: Pipeline, request: Request) -> Settings:
    settings = read_picture_settings(path)
    if settings is None:
        raise InputError(f"{path} is no picture of ours; choose another --out")
    asked = {
        "model_hash": pipeline.hash, "knobs": unparse(request.knobs), "seed": request.seed, "prompt": request.prompt,
    }  # fmt: skip
    for name, value in asked.items():
        before = getattr(settings, name)
        if before != value:
            raise InputError(f"{path} was drawn with {name} = {before!r}, not {value!r}; choose another --out")
    return settings


def _path(folder: Path, place: int) -> Path:
    return folder / f"{place:06}.png"
