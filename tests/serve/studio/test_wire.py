"""Frames over a pipe: what is sent arrives; what is torn, lying or foreign is refused, within limits."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limner.serve.studio import wire
from limner.serve.studio.wire import Frame, WireError, packed, read

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
FRAMES = st.builds(
    Frame, kind=st.text(max_size=20), fields=st.dictionaries(st.text(), JSON), blobs=st.tuples(st.binary(), st.binary())
)


async def received(data: bytes) -> Frame | None:
    pipe = asyncio.StreamReader()
    pipe.feed_data(data)
    pipe.feed_eof()
    return await wire.receive(pipe)


@given(FRAMES)
def test_what_is_sent_arrives_on_either_kind_of_pipe(frame: Frame) -> None:
    data = packed(frame)
    for found in (read(io.BytesIO(data)), asyncio.run(received(data))):
        assert found is not None
        assert (found.kind, dict(found.fields), tuple(found.blobs)) == (frame.kind, dict(frame.fields), frame.blobs)


@given(st.data())
def test_a_torn_frame_is_none_and_says_so(data: Any) -> None:
    whole = packed(Frame("draw", {"task": "a"}, (b"12345",)))
    cut = data.draw(st.integers(0, len(whole) - 1))
    if cut == 0:
        assert read(io.BytesIO(b"")) is None
        return
    with pytest.raises(WireError):
        read(io.BytesIO(whole[:cut]))
    with pytest.raises(WireError):
        asyncio.run(received(whole[:cut]))


@given(st.binary(max_size=200))
@example(b"LMNR\x7f\xff\xff\xff")
@example(b"LMNR\0\0\0\0")
@example(b"hello, this was printed\n")
def test_foreign_bytes_are_refused(data: bytes) -> None:
    if data:
        with pytest.raises(WireError):
            read(io.BytesIO(data))


@pytest.mark.parametrize(
    "header",
    [
        {"kind": "a", "fields": {}, "blobs": [1 << 40]}, {"kind": "a", "fields": {}, "blobs": [-1]},
        {"kind": "a", "fields": {}, "blobs": [True]}, {"kind": "a", "fields": {}, "blobs": [1, 1, 1, 1, 1]},
        {"kind": 1, "fields": {}, "blobs": []}, {"kind": "a", "fields": [], "blobs": []}, {"kind": "a"}, [], "a",
        {"kind": "a", "fields": {}, "blobs": [], "more": 1},
    ],
)  # fmt: skip
def test_headers_that_lie(header: Any) -> None:
    text = json.dumps(header).encode()
    with pytest.raises(WireError):
        read(io.BytesIO(wire.PREFIX.pack(wire.MARK, len(text)) + text))


def test_what_the_other_side_would_refuse_is_not_sent() -> None:
    for frame in (
        Frame("a", {"text": "x" * wire.MOST_HEADER}),
        Frame("a", {"nan": float("nan")}),
        Frame("a", {}, (b"",) * 5),
    ):
        with pytest.raises(WireError):
            packed(frame)


@given(st.data())
def test_what_was_changed_on_the_way_is_refused_or_is_a_frame(data: st.DataObject) -> None:
    whole = bytearray(packed(Frame("done", {"task": "a", "size": [2, 3]}, (b"0123456789", b"ab"))))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        length = data.draw(st.integers(0, 3))
        whole[place : place + length] = data.draw(st.binary(max_size=4))
    for reading in (lambda: read(io.BytesIO(whole)), lambda: asyncio.run(received(bytes(whole)))):
        try:
            found = reading()
        except WireError:
            continue
        assert found is None or isinstance(found, Frame)


def test_no_more_is_asked_for_than_the_limits_allow() -> None:
    class Pipe(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 <= size <= wire.MOST_BLOB
            return super().read(size)

    lies = [(wire.MOST_HEADER + 1, b""), (0xFFFFFFFF, b"")]
    lies += [(len(text), text) for text in (header(wire.MOST_BLOB + 1), header(10**30), header(*[1] * 5))]
    for length, text in lies:
        with pytest.raises(WireError):
            read(Pipe(wire.PREFIX.pack(wire.MARK, length) + text))


def header(*blobs: int) -> bytes:
    return json.dumps({"kind": "a", "fields": {}, "blobs": blobs}).encode()
