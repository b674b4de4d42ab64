"""WebDataset tars as img2dataset writes them: 000000010.jpg, .txt and .json of one key are one picture.

Nothing is extracted: the place of each picture in its tar is remembered, and read when it is asked for.
"""

from __future__ import annotations

import json
import os
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.core import InputError
from limner.data.people.formats.listing import Caption, Fault, Item, Listing, kept, named_split
from limner.data.people.pictures import SUFFIXES

MAX_MEMBERS = 1_000_000
MAX_TEXT = 1 << 20


def tars(files: Sequence[str]) -> list[str]:
    return [name for name in files if name.lower().endswith(".tar")]


def read(root: Path, found: Sequence[str]) -> Listing:
    items: list[Item] = []
    faults: list[Fault] = []
    for name in found:
        items += _shard(root / name, name, faults)
    return Listing(str(root), f"WebDataset, {len(found)} tar files", tuple(items), tuple(faults))


@dataclass(slots=True)
class _Entry:
    """What the members of one key hold."""

    picture: str = ""
    start: int = 0
    length: int = 0
    text: str | None = None
    caption: str | None = None


def _shard(path: Path, name: str, faults: list[Fault]) -> Iterator[Item]:
    entries: dict[str, _Entry] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in _members(tar, name, faults):
                _add(entries, tar, member, name, faults)
            if not _ended(path, tar.offset):
                faults.append(Fault(name, f"the tar is cut or damaged after {len(entries)} entries"))
    except tarfile.ReadError as error:
        if not entries:
            raise InputError(f"{name} is no tar that can be read: {error}; unpack compression first") from None
        faults.append(Fault(name, f"the tar is cut or damaged after {len(entries)} entries: {error}"))
    for key, entry in entries.items():
        place = f"{name}: {key}"
        if not entry.picture:
            faults.append(Fault(place, "there is a caption and no picture"))
            continue
        text = entry.text if entry.text is not None else entry.caption
        said = () if text is None else kept([Caption(text, f"{place}.{'json' if entry.text is None else 'txt'}")])
        yield Item(f"{name}: {entry.picture}", str(path), said, named_split(name), entry.start, entry.length)


def _members(tar: tarfile.TarFile, name: str, faults: list[Fault]) -> Iterator[tarfile.TarInfo]:
    """The regular files, their names checked. What points out of the tar is refused with the whole tar."""
    size = os.stat(str(tar.name)).st_size
    count = 0
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every one of them
        count += 1
        if count > MAX_MEMBERS:
            raise InputError(f"{name} holds more than {MAX_MEMBERS:,} members; split it into smaller tars")
        if member.issym() or member.islnk():
            raise InputError(f'{name}: "{member.name}" is a link; only plain files are read, so pack it without links')
        if posixpath.isabs(member.name) or ".." in member.name.split("/"):
            raise InputError(f'{name}: "{member.name}" points outside the tar; pack it with plain relative names')
        if not member.isreg():
            continue
        if member.offset_data + member.size > size:
            faults.append(Fault(f"{name}: {member.name}", "truncated: the tar ends before it does"))
            return
        if member.issparse():
            faults.append(Fault(f"{name}: {member.name}", "a sparse file; pack it as a plain one"))
            continue
        yield member


def _ended(path: Path, offset: int) -> bool:
    """Whether an end mark stands where reading stopped: tarfile takes a damaged header for the end, too."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


def _add(
    entries: dict[str, _Entry], tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, faults: list[Fault]
) -> None:
    folder, base = posixpath.split(posixpath.normpath(member.name))
    stem, _, kind = base.partition(".")
    if not stem:
        return
    kind = kind.lower()
    key = posixpath.join(folder, stem)
    if f".{kind}" in SUFFIXES:
        entry = entries.setdefault(key, _Entry())
        if entry.picture:
            faults.append(Fault(f"{name}: {member.name}", f"a second picture of the key {key}"))
        else:
            entry.picture, entry.start, entry.length = member.name, member.offset_data, member.size
    elif kind in ("txt", "caption", "json"):
        _caption(entries.setdefault(key, _Entry()), tar, member, f"{name}: {member.name}", faults)


def _caption(entry: _Entry, tar: tarfile.TarFile, member: tarfile.TarInfo, place: str, faults: list[Fault]) -> None:
    if member.size > MAX_TEXT:
        faults.append(Fault(place, f"{member.size:,} bytes are too many for a caption"))
        return
    file = tar.extractfile(member)
    assert file is not None, "a regular member"
    data = file.read()
    try:
        if not member.name.lower().endswith(".json"):
            entry.text = data.decode("utf-8-sig")
            return
        values = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        faults.append(Fault(place, "neither UTF-8 text nor JSON"))
        return
    if isinstance(values, dict) and isinstance(values.get("caption"), str):
        entry.caption = values["caption"]
