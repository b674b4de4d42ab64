"""Frames over a pipe: what is sent arrives; what is torn, lying or foreign is refused, within limits."""

from __future__ import annotations

import asyncio
import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from limner.serve.orders import Order
from limner.serve.studio import wire
from limner.serve.studio.messages import Cancel, Draw, Gone, Seen, framed, unframed
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


def test_messages_are_read_strictly() -> None:
    draw = Draw(task="a", order=Order(model="m", prompt="p", seed=1, size=(8, 16), knobs={"steps": 3}), index=0)
    message, blobs = unframed(framed(draw))
    assert message == draw
    assert not blobs
    wrong = [("nobody", {}), ("draw", {"task": "a"}), ("cancel", {"task": 7}), ("gone", {"task": "a", "b": 1})]
    for one in (*(Frame(*each) for each in wrong), Frame("cancel", {"task": "a"}, (b"1",))):
        with pytest.raises(WireError):
            unframed(one)
    assert unframed(framed(Cancel(task="a")))[0] == Cancel(task="a")
    assert unframed(framed(Gone(task="a")))[0] == Gone(task="a")


def test_pixels_have_to_be_those_of_their_size() -> None:
    seen = Seen(task="a", step=1, steps=2, size=(2, 3), settings={})
    assert unframed(framed(seen, b"x" * 18))[1] == (b"x" * 18,)
    with pytest.raises(WireError):
        unframed(framed(seen, b"x" * 17))
