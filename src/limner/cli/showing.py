"""What `limner info`, `limner rerun` and `limner models` say."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageChops

import limner
from limner import engine, families, store
from limner.canvas import opened
from limner.core import InputError
from limner.pipeline import Pipeline
from limner.provenance import (
    Settings,
    encode,
    format_of,
    read_digital_source,
    read_parameters,
    read_picture_settings,
    read_pixels,
    save_picture,
)
from limner.shelf import DEFAULT, find_model, shipped
from limner.shelf import models as model_folders
from limner.store.shards import PICKLES, SUFFIX


@dataclass(frozen=True, slots=True)
class Verdict:
    same: bool
    text: str


def about(what: str) -> Iterator[str]:
    """Lines about a picture or a model, whichever it is."""
    if what in shipped() or Path(what).is_dir() or Path(what).suffix in (SUFFIX, *PICKLES):
        return _about_model(families.describe(find_model(what)))
    return _about_picture(Path(what))


def models() -> Iterator[str]:
    """A line for each model; for one that is not whole, what is wrong with it."""
    folders = model_folders()
    if not folders:
        yield "There is no model yet: train one with limner train"
    for folder in folders:
        try:
            one = store.describe(folder)
        except InputError as error:
            yield str(error)
            continue
        name = folder.name if folder.name in shipped() else str(folder)
        pixels = f"{one.config.get('image_size')} px"
        note = _note(one.family, name)
        yield f"{name:<32} {one.family:<10} {pixels:>7} {one.size / 1e6:6.1f} MB  {one.hash[:10]}{note}"


def _note(family: str, name: str) -> str:
    if name == DEFAULT:
        return "  (drawn with unless --model is given)"
    draws = family not in families.TABLE or families.find(family).draws()
    return "" if draws else "  (draws no pictures, but judges them: --judge)"


def rerun(
    path: Path, *, model: str | None, over: Path | None = None, mask: Path | None = None, output: Path | None
) -> Verdict:
    """Draw again by the settings in a picture, `over` another if need be, pass it through the same format, compare."""
    settings = _settings(path)
    image, mask_image = (None if one is None else opened(one) for one in (over, mask))
    if output is not None:
        format_of(output)
    pipe = Pipeline.from_pretrained(
        model or _by_hash(settings), precision=_precision(settings), compile=settings.compile
    )
    try:
        picture = pipe.redraw(settings, image=image, mask_image=mask_image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if output is not None:
        save_picture(picture.image, output, picture.settings)
    with Image.open(io.BytesIO(encode(picture.image, format_of(path), picture.settings))) as image:
        return _compared(read_pixels(path), image.convert("RGB"), settings, pipe)


def _precision(settings: Settings) -> str:
    """That of the picture, or this machine's own where it has none such: the verdict tells."""
    has_it = engine.can_compute(settings.precision, torch.device("cpu"))
    return settings.precision if settings.precision and has_it else "auto"


def _compared(old: Image.Image, new: Image.Image, settings: Settings, pipe: Pipeline) -> Verdict:
    if old.size != new.size:
        return Verdict(False, f"not the same: it is {old.width} x {old.height}, drawn again {new.width} x {new.height}")
    most = int(np.asarray(ImageChops.difference(old, new)).max())
    if not most:
        return Verdict(True, "the same, pixel for pixel")
    changes = [
        f"{name} {before} then, {now} now"
        for name, before, now in (
            ("model", settings.model_hash[:10], pipe.hash[:10]),
            ("precision", settings.precision or "unknown", pipe.precision or "unknown"),
            ("limner", settings.limner, limner.__version__),
            ("torch", settings.torch, str(torch.__version__)),
        )
        if before != now
    ]
    return Verdict(
        False, f"not the same: pixels differ by up to {most} of 255" + "".join(f"; {one}" for one in changes)
    )


def _settings(path: Path) -> Settings:
    settings = read_picture_settings(path)
    if settings is None:
        raise InputError(f"{path} carries no settings of Limner; they are lost when a picture is edited or uploaded")
    return settings


def _by_hash(settings: Settings) -> Path:
    for folder in model_folders():
        with contextlib.suppress(InputError):  # another model that is not whole
            if store.describe(folder).hash == settings.model_hash:
                return folder
    short = settings.model_hash[:10]
    raise InputError(f'the model "{settings.model}" ({short}) that drew it is not here; name its folder by --model')


def _about_picture(path: Path) -> Iterator[str]:
    settings, parameters, source = read_picture_settings(path), read_parameters(path), read_digital_source(path)
    if settings is not None:
        yield f"prompt:    {settings.prompt}"
        if settings.negative_prompt:
            yield f"negative:  {settings.negative_prompt}"
        yield f"seed:      {settings.seed}"
        yield f"size:      {settings.width} x {settings.height}"
        yield f"model:     {settings.model} ({settings.family}, {settings.model_hash[:10]})"
        yield f"knobs:     {', '.join(f'{key} = {value}' for key, value in settings.knobs.items())}"
        precision = f"in {settings.precision}, " if settings.precision else ""
        yield f"drawn by:  limner {settings.limner}, torch {settings.torch}, {precision}{settings.batch} together"
        if settings.source:
            yield f"over:      another picture ({settings.source[:10]})"
        if settings.extend is not None:
            yield f"extended:  {settings.extend}"
        if settings.upscale > 1.0:
            yield f"enlarged:  {settings.upscale:g} times, and drawn anew"
        if settings.step is not None:
            yield f"preview:   after step {settings.step}"
        if settings.score is not None:
            yield f"score:     {settings.score:.4f} by {settings.judge} ({settings.judge_hash[:10]})"
    elif parameters is not None:
        yield from parameters.splitlines()
    else:
        yield f"{path} does not say what it was drawn with"
    if source is not None:
        yield f"marked:    {source} (IPTC digital source type)"


def _about_model(one: store.Description) -> Iterator[str]:
    kind = families.find(one.family)
    yield f"model:     {one.folder}"
    yield f"family:    {one.family}"
    yield f"size:      {one.config.get('image_size')} pixels"
    yield f"weights:   {one.size / 1e6:.1f} MB in {len(one.weights)} files, hash {one.hash}"
    yield f"written:   by limner {one.limner}" if one.limner else "written:   by another program"
    yield "knobs:     (--set knob=value)" if kind.draws() else "use:       judges pictures, and draws none"
    hints = typing.get_type_hints(kind.Knobs)
    for field in dataclasses.fields(kind.Knobs):
        yield f"  {field.name:<16} {_kind(hints[field.name]):<24} {field.default}"
    if one.card:
        yield ""
        yield one.card.rstrip()


def _kind(hint: typing.Any) -> str:
    choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
    return " | ".join(map(str, choices)) or str(getattr(hint, "__name__", hint))
