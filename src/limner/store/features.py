"""What frozen networks say of pictures and captions, on disk: computed once for each, and read back ever after.

A file holds what one part of a model said, and is named by the weights with which it did; in it each answer lies under
the SHA-256 of what it was asked, so that a changed picture or changed weights find nothing. Losing it costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)
ROOM = 8 << 30  # bytes of each part's answers: a hundred thousand pictures of 512 pixels
TABLE = "CREATE TABLE IF NOT EXISTS answers (asked BLOB PRIMARY KEY, said BLOB NOT NULL, crc INTEGER NOT NULL)"
KEEP = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)"
ASK = "SELECT said, crc FROM answers WHERE asked = ?"
Inputs = TypeVar("Inputs", Tensor, Sequence[str])  # a row each, or a caption each
Answers = dict[str, Tensor]  # by name, each (B, ...) with a row for every input


class Features:
    """Of parts for which `still(part)` is true; the others are asked each time.

    What is kept is computed one by one, for it must not depend on what else was in the batch: a run is the same bit for
    bit whether its answers were kept, lost on the way or never there.
    """

    def __init__(self, folder: Path, *, still: Callable[[nn.Module], bool], room: int = ROOM) -> None:
        self._folder, self._still, self._room = folder, still, room
        self._shelves: dict[str, tuple[object, Shelf]] = {}

    def of(self, name: str, part: nn.Module, inputs: Inputs, compute: Callable[[Inputs], Answers]) -> Answers:
        """What `compute`, by `part` and nothing else that is learnt, says of `inputs`: float32, without gradients.

        `name` is the part's, and a file's.
        """
        with torch.no_grad():
            if not self._still(part):
                return _float32(compute(inputs))
            shelf = self._shelf(name, part)
            keys = [_digest(one) for one in inputs]
            found = shelf.read(dict.fromkeys(keys))
            missing = {key: row for row, key in enumerate(keys) if key not in found}
            fresh = {key: _float32(compute(inputs[row : row + 1])) for key, row in missing.items()}
            shelf.write(fresh)
            found |= fresh
            return _joined([found[key] for key in keys], next(part.parameters()).device)

    def close(self) -> None:
        for _, shelf in self._shelves.values():
            shelf.close()
        self._shelves.clear()

    def _shelf(self, name: str, part: nn.Module) -> Shelf:
        stamp, (before, shelf) = _stamp(part), self._shelves.get(name, (None, None))
        if shelf is None or stamp != before:
            if shelf is not None:
                shelf.close()
            shelf = Shelf(self._folder / f"{name}-{_weights(part)[:16]}.sqlite", room=self._room)
            _clear(self._folder.glob(f"{name}-*.sqlite*"), but=shelf.path.name)
            self._shelves[name] = stamp, shelf
        return shelf


class Shelf:
    """Answers of one row by their keys, in an SQLite file, until `room` bytes are taken.

    What is there first stays: examples come round in turn, so that whichever was put out would be the next one wanted.
    """

    def __init__(self, path: Path, *, room: int) -> None:
        self.path, self._room, self._taken = path, room, 0
        self._database: sqlite3.Connection | None = None
        with self._minded():
            self._open()

    def read(self, keys: Iterable[bytes]) -> dict[bytes, Answers]:
        """Of those that are there."""
        found: dict[bytes, Answers] = {}
        with self._minded() as database:
            for key in keys:
                if database is not None and (row := database.execute(ASK, (key,)).fetchone()):
                    found[key] = _whole(*row)
        return found

    def write(self, answers: Mapping[bytes, Answers]) -> None:
        with self._minded() as database:
            if database is None or not answers:
                return
            with database:
                for key, one in answers.items():
                    said = safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in one.items()})
                    if self._taken + len(said) <= self._room:
                        self._taken += len(said)
                        row = key, said, zlib.crc32(said)
                        database.execute(KEEP, row)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(self.path)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")  # after a power cut the last answers may be gone, no more
        self._database.execute(TABLE)
        (self._taken,) = self._database.execute("SELECT coalesce(sum(length(said)), 0) FROM answers").fetchone()

    @contextlib.contextmanager
    def _minded(self) -> Iterator[sqlite3.Connection | None]:
        """Within, a damaged file is made anew, and where the disk takes none nothing is kept any more."""
        try:
            yield self._database
        except (sqlite3.OperationalError, OSError) as error:
            log.warning("%s cannot be used (%s); what it was to keep is computed each time", self.path, error)
            self.close()
        except sqlite3.DatabaseError as error:
            log.warning("%s is damaged (%s); it is made anew", self.path, error)
            self.close()
            _clear(self.path.parent.glob(f"{self.path.name}*"))
            with self._minded():
                self._open()


def _whole(said: bytes, crc: int) -> Answers:
    if not isinstance(said, bytes) or zlib.crc32(said) != crc:
        raise sqlite3.DatabaseError("an answer is not what was written")
    return safetensors.torch.load(said)


def _digest(one: Tensor | str) -> bytes:
    data = one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one.cpu().contiguous().numpy().tobytes()
    return hashlib.sha256(data).digest()


def _weights(part: nn.Module) -> str:
    """Of all numbers that an answer depends on, and of the precision in which they are multiplied."""
    device = next(part.parameters()).device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    digest = hashlib.sha256(f"{device} {precision}".encode())
    for name, tensor in part.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _stamp(part: nn.Module) -> object:
    """It changes when a weight is replaced, moved or written to: cheaper than to read them all."""
    device = next(part.parameters()).device.type
    weights = part.state_dict(keep_vars=True).values()
    return torch.is_autocast_enabled(device), [(id(one), one.data_ptr(), one._version) for one in weights]


def _float32(answers: Answers) -> Answers:
    return {name: one.float() for name, one in answers.items()}


def _joined(rows: Sequence[Answers], device: torch.device) -> Answers:
    return {name: torch.cat([row[name].to(device) for row in rows]) for name in rows[0]}


def _clear(files: Iterable[Path], *, but: str = "") -> None:
    """Delete `files`, but for the one called `but` and what SQLite puts beside it."""
    for file in files:
        if not (but and file.name.startswith(but)):
            file.unlink(missing_ok=True)
