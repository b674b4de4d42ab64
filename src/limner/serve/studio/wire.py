"""Frames over a pipe: a JSON header and raw bytes. Never pickle.

A frame is the four bytes `LMNR`, the length of the header (4 bytes, the most significant first), the header, and the
blobs, whose lengths the header names. What comes is read strictly and within limits, whoever sent it: a stray print, a
torn frame or a lying length is a `WireError`, and costs no more memory than the limits allow.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

MARK = b"LMNR"
PREFIX = struct.Struct(">4sI")
MOST_HEADER = 1 << 20
MOST_BLOB = 64 << 20  # the largest canvas, 4096 x 4096, is 48 MiB of RGB
MOST_BLOBS = 4


class WireError(Exception):
    """What came is no frame, or not the whole of one."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A message of a `kind`, its `fields`, and bytes that come with it."""

    kind: str
    fields: Mapping[str, Any]
    blobs: Sequence[bytes] = ()


def packed(frame: Frame) -> bytes:
    """The frame as bytes; WireError where it is beyond the limits, which the other side would refuse."""
    sizes = [len(blob) for blob in frame.blobs]
    try:
        text = json.dumps({"kind": frame.kind, "fields": frame.fields, "blobs": sizes}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"a message of kind {frame.kind} is not JSON: {error}") from None
    header = text.encode()
    _check(len(header) <= MOST_HEADER, f"a header of {len(header):,} bytes is beyond {MOST_HEADER:,}")
    _check_sizes(sizes)
    return b"".join([PREFIX.pack(MARK, len(header)), header, *frame.blobs])


def write(pipe: BinaryIO, frame: Frame) -> None:
    """All of it at once, and flushed. OSError where nobody reads any more."""
    pipe.write(packed(frame))
    pipe.flush()


def read(pipe: BinaryIO) -> Frame | None:
    """The next frame, or None where the other side closed the pipe between two; WireError where within one."""
    steps = _reading()
    wanted = next(steps)
    while True:
        data = _exactly(pipe, wanted)
        if data is None:
            return None
        try:
            wanted = steps.send(data)
        except StopIteration as done:
            return _frame(done.value)


async def receive(pipe: asyncio.StreamReader) -> Frame | None:
    """`read`, for asyncio."""
    steps = _reading()
    wanted, begun = next(steps), False
    while True:
        try:
            data = await pipe.readexactly(wanted)
        except asyncio.IncompleteReadError as error:
            if not begun and not error.partial:
                return None
            raise WireError(f"{len(error.partial)} bytes of {wanted} came, and then nothing") from None
        begun = True
        try:
            wanted = steps.send(data)
        except StopIteration as done:
            return _frame(done.value)


def _reading() -> Generator[int, bytes, Frame]:
    """Says how many bytes it wants next, is sent them, and returns the frame. One way for both kinds of pipe."""
    mark, length = PREFIX.unpack((yield PREFIX.size))
    _check(mark == MARK, f"{mark!r} begins no frame")
    _check(length <= MOST_HEADER, f"a header of {length:,} bytes is beyond {MOST_HEADER:,}")
    kind, fields, sizes = _header((yield length) if length else b"")
    blobs = []
    for size in sizes:
        blobs.append((yield size) if size else b"")
    return Frame(kind, fields, tuple(blobs))


def _header(data: bytes) -> tuple[str, dict[str, Any], list[int]]:
    try:
        found = json.loads(data, parse_constant=_no_number, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the header is not JSON: {error}") from None
    whole = isinstance(found, dict) and found.keys() == {"kind", "fields", "blobs"}
    _check(whole and isinstance(found["kind"], str), "the header names no kind, fields and blobs")
    _check(
        isinstance(found["fields"], dict) and isinstance(found["blobs"], list), "fields or blobs are of another type"
    )
    _check_sizes(found["blobs"])
    return found["kind"], found["fields"], found["blobs"]


def _check_sizes(sizes: Sequence[Any]) -> None:
    _check(len(sizes) <= MOST_BLOBS, f"{len(sizes)} blobs are more than {MOST_BLOBS}")
    for size in sizes:
        _check(type(size) is int and 0 <= size <= MOST_BLOB, f"{size!r} is no length of a blob, 0 to {MOST_BLOB:,}")


def _exactly(pipe: BinaryIO, wanted: int) -> bytes | None:
    """So many bytes, or None where there are none at all and a frame would begin with them."""
    data = pipe.read(wanted)
    if len(data) == wanted:
        return data
    _check(not data and wanted == PREFIX.size, f"{len(data)} bytes of {wanted} came, and then nothing")
    return None


def _frame(found: object) -> Frame:
    assert isinstance(found, Frame)
    return found


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise WireError(message)
