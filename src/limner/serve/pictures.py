"""Pictures on disk by their content: what somebody sent to be drawn upon, and what was drawn.

A file's name is the SHA-256 of what is in it, in folders by the first digits, and no name comes from outside: so what
is asked for is a number, and not a place. A file that is not what its name says is as good as none.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from limner.serve.faults import Unavailable
from limner.serve.orders import DIGEST
from limner.store.files import atomic_write, sync_folder

log = logging.getLogger(__name__)
ABSENT = (errno.ENOENT, errno.ENOTDIR)
NO_FILE = (errno.ELOOP, errno.ENXIO)  # a link, a socket: neither is ours
UNFINISHED = re.compile(r"\.[0-9a-f]+\.part")  # what a writing that was killed leaves behind
WRITING = 3600.0  # seconds, in which any writing has ended


class _File(NamedTuple):
    """In the order in which files are given up."""

    touched: float
    digest: str
    size: int


class Pictures:
    """The pictures in `folder`, for any number of threads of one process.

    They may take up `limit_bytes` together, and each is kept for `keep_seconds` after it was last put, as far as
    `sweep` is called.
    """

    def __init__(self, folder: Path, limit_bytes: int, keep_seconds: float) -> None:
        self._folder, self._limit, self._keep = folder, limit_bytes, keep_seconds
        self._changing = threading.Lock()  # so that what was put just now is not taken for old

    def put(self, data: bytes) -> str:
        """Keep these bytes, on the disk: their name. Unavailable if that cannot be: then nothing of them is there."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        with self._changing, self._faults():
            if self._read(digest) is None:
                self._make(path.parent)
                atomic_write(path, data)
            else:
                os.utime(path)
        return digest

    def get(self, digest: str) -> bytes | None:
        """What was put under this name, whole; None if it is not there, or damaged, or this is no such name.

        Unavailable if the disk does not answer.
        """
        if not DIGEST.fullmatch(digest):
            return None
        with self._faults():
            return self._read(digest)

    def sweep(self, now: float, pinned: set[str]) -> int:
        """Delete what is too old, and the oldest of what is too much; never what is `pinned`. How many pictures."""
        with self._faults():
            files = sorted(self._files(now))
            total = sum(one.size for one in files)
            deleted = 0
            for one in files:
                if one.touched >= now - self._keep and total <= self._limit:
                    break
                if one.digest not in pinned and self._delete(one):
                    total, deleted = total - one.size, deleted + 1
        return deleted

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest[2:4] / digest

    def _make(self, folder: Path) -> None:
        """A folder that is there after a power cut, too: its name is in the one above, which has to be written."""
        for one in (self._folder, folder.parent, folder):
            if not one.is_dir():
                one.mkdir(parents=True, exist_ok=True)
                sync_folder(one.parent)

    def _read(self, digest: str) -> bytes | None:
        try:
            descriptor = os.open(self._path(digest), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (*ABSENT, *NO_FILE):
                raise
            data = None
            damaged = error.errno in NO_FILE
        else:
            data = _content(descriptor)
            damaged = data is None or hashlib.sha256(data).hexdigest() != digest
        if damaged:
            log.error("the picture %s is damaged on the disk, and counts as absent", digest)
        return None if damaged else data

    def _files(self, now: float) -> Iterator[_File]:
        """All that are ours. What a killed writing left behind is deleted on the way."""
        for folder in self._folder.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/"):
            for entry in os.scandir(folder):
                with contextlib.suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    if DIGEST.fullmatch(entry.name) and stat.S_ISREG(found.st_mode):
                        yield _File(found.st_mtime, entry.name, found.st_size)
                    elif UNFINISHED.fullmatch(entry.name) and found.st_mtime < now - WRITING:
                        os.unlink(entry)

    def _delete(self, file: _File) -> bool:
        """Unless it was put again, or is gone, since it was seen."""
        path = self._path(file.digest)
        with self._changing, contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime == file.touched:
                path.unlink()
                return True
        return False

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Unavailable(f"pictures in {self._folder}: {error.strerror or error}") from error


def _content(descriptor: int) -> bytes | None:
    """Of a file alone: a pipe would be waited for."""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)
