"""JSON that others wrote, read within bounds: no small file becomes a large thing in memory, no deep one a crash."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from limner.core import InputError

MOST_BYTES = 4 << 20  # of a file: the longest that models have is CLIP's list of tokens, of 1 MB
MOST_PIECES = 250_000  # lists, objects and members, each up to 250 bytes in memory
Pairs = Callable[[list[tuple[str, Any]]], Any]


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; InputError if there is none, or more than a model has."""
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist; the model is not whole: copy or download it again") from None
    if len(raw) > MOST_BYTES:
        raise InputError(f"{path} is longer than {MOST_BYTES:,} bytes, which no model's is; copy or download it again")
    try:
        values = decode(raw)
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); copy or download it again") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no JSON object; copy or download it again")
    return values


def decode(raw: bytes, *, most: int = MOST_PIECES, pairs: Pairs | None = None) -> Any:
    """What JSON says; ValueError if it is none, too deep, or of more than `most` pieces. `pairs` makes the objects."""
    pieces = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if pieces > most:
        raise ValueError(f"it has {pieces:,} pieces, more than the {most:,} that are read")
    try:
        return json.loads(raw.decode(), object_pairs_hook=pairs)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
