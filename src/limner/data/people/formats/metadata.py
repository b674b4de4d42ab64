"""Pictures listed in metadata.jsonl, metadata.csv or metadata.parquet: `file_name` with `text` or `texts`."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.core import InputError, nearest
from limner.data.people.formats.listing import Caption, Fault, Item, Listing, decoded, kept, named_split
from limner.data.people.pictures import SUFFIXES

NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
Row = tuple[str, Mapping[str, Any] | str]
"""Where the row is, and its values or what is wrong with it."""


def lists(files: Sequence[str]) -> list[str]:
    found = [name for name in files if posixpath.basename(name) in NAMES]
    folders: dict[str, str] = {}
    for name in found:
        other = folders.setdefault(posixpath.dirname(name), name)
        if other != name:
            raise InputError(f"{other} and {name} lie in one folder; keep the one that is right")
    return found


def read(root: Path, found: Sequence[str], files: Sequence[str]) -> Listing:
    """Several rows for one picture are several captions of it; a picture that no row names is not used."""
    captions: dict[str, list[Caption]] = {}
    faults: list[Fault] = []
    for name in found:
        captioned = False
        for place, row in _rows(root / name, name):
            captioned = captioned or (not isinstance(row, str) and ("text" in row or "texts" in row))
            try:
                picture = _picture(row, posixpath.dirname(name), place)
                said = _captions(row, place)
                captions.setdefault(picture, []).extend(said)
            except _BadRowError as error:
                faults.append(Fault(place, str(error)))
        if captions and not captioned:
            raise InputError(f'{name} has no column "text" in any row; add it, or rename the one with the captions')
    items = [Item(name, str(root / name), kept(said), named_split(name)) for name, said in sorted(captions.items())]
    unused = [one for one in files if one not in captions and posixpath.splitext(one)[1].lower() in SUFFIXES]
    return Listing(str(root), f"pictures listed in {', '.join(found)}", tuple(items), tuple(faults), tuple(unused))


class _BadRowError(ValueError):
    """One row cannot be used; the others may be."""


def _picture(row: Mapping[str, Any] | str, folder: str, place: str) -> str:
    if isinstance(row, str):
        raise _BadRowError(row)
    name = row.get("file_name")
    if not isinstance(name, str) or not name:
        raise _BadRowError('there is no "file_name"')
    path = posixpath.normpath(posixpath.join(folder, name))
    if posixpath.isabs(path) or path == ".." or path.startswith("../"):
        raise InputError(f'{place}: "{name}" lies outside the folder; file names are relative to the list')
    return path


def _captions(row: Mapping[str, Any] | str, place: str) -> list[Caption]:
    assert not isinstance(row, str)
    found: list[Caption] = []
    for key in ("text", "texts"):
        value = row.get(key)
        texts = [] if value is None else value if isinstance(value, list) else [value]
        for text in texts:
            if not isinstance(text, str):
                raise _BadRowError(f'"{key}" holds {text!r}, which is no text')
            found.append(Caption(text, place))
    return found


def _rows(path: Path, name: str) -> Iterator[Row]:
    kind = path.suffix.lower()
    return _jsonl(path, name) if kind == ".jsonl" else _csv(path, name) if kind == ".csv" else _parquet(path, name)


def _jsonl(path: Path, name: str) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            place = f"{name} line {number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError):
                yield place, "the line is not JSON"
                continue
            yield place, row if isinstance(row, dict) else "the line is no JSON object"


def _csv(path: Path, name: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(decoded(path.read_bytes(), name), newline=""))
    header = next(reader, [])
    _need(header, name, ("text",))
    while True:
        place = f"{name} line {reader.line_num + 1}"
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield place, str(error)
            continue
        if len(fields) == len(header):
            yield place, dict(zip(header, fields))
        elif fields:
            yield place, f"{len(fields)} fields under {len(header)} headings; put a caption with commas in quotes"


def _parquet(path: Path, name: str) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(f"{name}: reading it needs pyarrow; pip install 'limner[train]'") from None
    try:
        with parquet.ParquetFile(path) as file:
            _need(file.schema_arrow.names, name, ("text", "texts"))
            columns = [one for one in ("file_name", "text", "texts") if one in file.schema_arrow.names]
            number = 0
            for batch in file.iter_batches(columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{name} row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{name} is no readable Parquet file: {' '.join(str(error).split())}") from None


def _need(columns: Sequence[str], name: str, captions: Sequence[str]) -> None:
    for wanted in (("file_name",), captions):
        if not set(wanted) & set(columns):
            hint = nearest(wanted[0], columns)
            raise InputError(f'{name} has no column "{wanted[0]}"{hint}; it has {", ".join(columns) or "none"}')
