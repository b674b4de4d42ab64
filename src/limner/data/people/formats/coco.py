"""COCO captions: `images` with id and file_name, `annotations` with image_id and caption."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limner.core import InputError
from limner.data.people.formats.listing import SPLITS, Caption, Fault, Item, Listing, kept

LOOKED_AT = 100


def lists(files: Sequence[str]) -> list[str]:
    """The files of a folder's annotations/ that hold captions; COCO keeps boxes and poses beside them."""
    found = [name for name in files if posixpath.dirname(name) == "annotations" and name.endswith(".json")]
    return [name for name in found if posixpath.basename(name).startswith("captions")] or found


def read(root: Path, found: Sequence[str]) -> Listing:
    items: list[Item] = []
    faults: list[Fault] = []
    for name in found:
        _add(root, name, _split(name) if len(found) > 1 else None, items, faults)
    return Listing(str(root), f"COCO captions in {', '.join(found)}", tuple(items), tuple(faults))


def _add(root: Path, name: str, split: str | None, items: list[Item], faults: list[Fault]) -> None:
    content = _load(root / name, name)
    captions: dict[Any, list[Caption]] = {}
    for number, one in enumerate(content["annotations"], 1):
        if isinstance(one, dict) and isinstance(one.get("caption"), str) and _is_key(one.get("image_id")):
            captions.setdefault(one["image_id"], []).append(Caption(one["caption"], f"{name} annotation {number}"))
        else:
            faults.append(Fault(f"{name} annotation {number}", 'there is no "caption" with an "image_id"'))
    images: dict[Any, str] = {}
    for number, one in enumerate(content["images"], 1):
        if isinstance(one, dict) and isinstance(one.get("file_name"), str) and _is_key(one.get("id")):
            images[one["id"]] = _inside(one["file_name"], f"{name} image {number}")
        else:
            faults.append(Fault(f"{name} image {number}", 'there is no "file_name" with an "id"'))
    faults += [Fault(said[0].place, "its image is not listed") for key, said in captions.items() if key not in images]
    folder = _folder(root / name, name, list(images.values()))
    for key, picture in images.items():
        path = folder / picture
        shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        items.append(Item(shown, str(path), kept(captions.get(key, [])), split))


def _load(path: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not JSON: {error}") from None
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ("images", "annotations")
    ):
        raise InputError(f'{name} is not COCO captions: it needs the lists "images" and "annotations"')
    if not any(isinstance(one, dict) and "caption" in one for one in content["annotations"]):
        raise InputError(f'{name} holds no captions: no annotation has a "caption"')
    return content


def _folder(path: Path, name: str, pictures: Sequence[str]) -> Path:
    """Where the pictures lie: beside the list or above it, in images/, train2017/ or images/train2017/, say."""
    subset = path.stem.partition("_")[2]
    places = [
        base / below
        for base in (path.parent, path.parent.parent)
        for below in ("", "images", subset, f"images/{subset}")
    ]
    counts = [sum((place / one).is_file() for one in pictures[:LOOKED_AT]) for place in places]
    if not max(counts):
        looked = ", ".join(dict.fromkeys(str(place) for place in places))
        raise InputError(f"{name}: none of its pictures was found; looked in {looked}")
    return places[counts.index(max(counts))]


def _split(name: str) -> str | None:
    """captions_val2017.json is of the split validation."""
    words = posixpath.basename(name).lower().replace(".", "_").replace("-", "_").split("_")
    return next((SPLITS[word.rstrip("0123456789")] for word in words if word.rstrip("0123456789") in SPLITS), None)


def _inside(name: str, place: str) -> str:
    path = posixpath.normpath(name)
    if posixpath.isabs(path) or path == ".." or path.startswith("../"):
        raise InputError(f'{place}: "{name}" lies outside the folder; file names are relative to it')
    return path


def _is_key(value: object) -> bool:
    return isinstance(value, int | str)
