"""SHA-256 sums of large files, remembered: those of gigabytes take seconds, and are wanted with every picture."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from limner.core import InputError
from limner.store.documents import read_json
from limner.store.files import atomic_write, sha256

MOST = 1000  # files; the oldest are forgotten


def remembered_sha256(path: Path) -> str:
    """The sum of a file, computed anew where its size or the time of its last change is another than it was."""
    about = path.stat()
    key, state = str(path.resolve()), [about.st_size, about.st_mtime_ns]
    known = _known()
    match known.get(key):
        case [size, changed, str(found)] if [size, changed] == state:
            return found
    found = sha256(path)
    known = {**{name: one for name, one in known.items() if name != key}, key: [*state, found]}
    _keep(dict(list(known.items())[-MOST:]))
    return found


def _known() -> dict[str, object]:
    """Nothing where the file is not there, or was damaged: it is only a memory."""
    try:
        return read_json(_place())
    except (InputError, OSError):
        return {}


def _keep(known: dict[str, object]) -> None:
    with contextlib.suppress(OSError):  # a home that cannot be written to
        _place().parent.mkdir(parents=True, exist_ok=True)
        atomic_write(_place(), json.dumps(known).encode())


def _place() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limner" / "sums.json"
