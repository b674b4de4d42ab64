"""Files and folders that are whole or not there: written aside, synced, renamed."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from limner.core import InputError

AT_FDCWD, RENAME_EXCHANGE = -100, 2


def atomic_write(path: Path, data: bytes) -> None:
    """Put `data` at `path`; whoever reads sees the old file or the new one, whole. OSError leaves the old one."""
    with written_aside(path) as file:
        file.write(data)


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """A file to fill, which takes the place of `path` when all went well and vanishes otherwise."""
    aside = _aside(path)
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `path` when all went well and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        aside.mkdir()
        yield aside
        sync_folder(aside)
        _exchange(aside, path)
        sync_folder(path.parent)
    finally:  # by now the old folder where all went well, the unfinished one where not
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path, by: str) -> Iterator[None]:
    """Within, no other process gets this far with `folder`, a file called `lock` in which says whose it is.

    The system frees the lock of a killed process. InputError where `folder` is in use by another, `by` name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise InputError(
                f"{folder} is in use by another {by} (process {holder}); wait for it, stop it, or choose another --out"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _aside(path: Path) -> Path:
    return path.with_name(f".{secrets.token_hex(6)}.part")


def _exchange(aside: Path, path: Path) -> None:
    """Put `aside` in the place of `path`, and what was there, if anything, in the place of `aside`."""
    if not path.exists():
        aside.rename(path)
    elif not _exchange_at_once(aside, path):
        old = _aside(path)
        path.rename(old)
        aside.rename(path)
        old.rename(aside)


def _exchange_at_once(one: Path, other: Path) -> bool:
    """Linux can swap two folders in one step, on most file systems."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except AttributeError:
        return False
    result: int = renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    return result == 0
