"""Captioned pictures on disk, recognised by what the path holds."""

from __future__ import annotations

from pathlib import Path

from limner.core import InputError
from limner.data.people.formats import coco, metadata, reed, sidecars, tars
from limner.data.people.formats.listing import Caption, Fault, Item, Listing, tree

LAYOUTS = (
    "metadata.jsonl, .csv or .parquet with file_name and text; or NAME.jpg with NAME.txt beside it; "
    "or WebDataset .tar files; or annotations/captions*.json (COCO) with images; "
    "or text_c10/CLASS/NAME.txt (birds and flowers with Reed's captions) with images"
)


def find(path: str | Path) -> Listing:
    """Everything that `path` holds, without opening a picture.

    A folder is looked through in this order: metadata lists, tars, COCO annotations, Reed's captions, text files
    beside pictures. An InputError says what was looked for where nothing is recognised, and names what is
    unsafe (names that point outside) or of no use at all (a list without the column `text`).
    """
    path = Path(path)
    try:
        if not path.exists():
            raise InputError(f"{path}: there is no such file or folder")
        listing = _folder(path) if path.is_dir() else _file(path)
    except OSError as error:
        raise InputError(f"{error.filename or path} cannot be read: {error.strerror or error}") from None
    if not listing.items:
        why = f"; {listing.faults[0].place}: {listing.faults[0].reason}" if listing.faults else ""
        raise InputError(f"{path}: {listing.layout}, but no picture that can be used{why}")
    return listing


def _file(path: Path) -> Listing:
    kind = path.suffix.lower()
    if kind == ".tar":
        return tars.read(path.parent, [path.name])
    if kind == ".json":
        return coco.read(path.parent, [path.name])
    if kind in (".jsonl", ".csv", ".parquet"):
        return metadata.read(path.parent, [path.name], [])
    raise InputError(
        f"{path}: a file with captioned pictures is a .tar, a COCO .json or a metadata list; or give a folder"
    )


def _folder(path: Path) -> Listing:
    files = tree(path)
    if found := metadata.lists(files):
        return metadata.read(path, found, files)
    if found := tars.tars(files):
        return tars.read(path, found)
    if found := coco.lists(files):
        return coco.read(path, found)
    if found := reed.texts(files):
        return reed.read(path, found, files)
    pictures = sidecars.pictures(files)
    captions = sidecars.texts(files)
    if any(name.rpartition(".")[0] in captions for name in pictures):
        return sidecars.read(path, files)
    holds = f"holds {len(files)} files, {len(pictures)} of them pictures, and no captions" if files else "is empty"
    raise InputError(f"{path} {holds}; looked for: {LAYOUTS}")


__all__ = ["LAYOUTS", "Caption", "Fault", "Item", "Listing", "find"]
