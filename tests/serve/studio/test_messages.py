"""What a studio and its workers say: all of it is read as it was said, and nothing else is read at all."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.canvas import Margins
from limner.serve.orders import Order
from limner.serve.studio.messages import (
    KINDS,
    Advanced,
    At,
    Begun,
    Cancel,
    Done,
    Draw,
    Failed,
    FromWorker,
    Gone,
    Load,
    Ready,
    Seen,
    Stop,
    ToWorker,
    Unable,
    framed,
    unframed,
)
from limner.serve.studio.wire import Frame, WireError, packed, read

COUNT = st.integers(0, 2**53)
SECONDS = st.floats(0, 1e6)
KNOBS = st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | COUNT | SECONDS | st.text(max_size=8))
SIDES = st.integers(1, 4)
DIGEST = st.just("0123456789abcdef" * 4)
ORDERS = st.builds(
    Order, model=st.text(max_size=9), prompt=st.text(max_size=50), seed=COUNT, negative_prompt=st.text(max_size=9),
    count=st.integers(1, 10), knobs=KNOBS, size=st.none() | st.tuples(COUNT, COUNT), image=DIGEST,
    mask=st.none() | DIGEST, strength=st.none() | SECONDS, upscale=SECONDS, exact=st.booleans(),
    extend=st.none() | st.just(Margins(left=3, top=1)), feather=st.none() | COUNT, previews=st.integers(0, 100),
)  # fmt: skip
TASK, SETTINGS, SIZE = st.text(max_size=20), KNOBS, st.tuples(SIDES, SIDES)
MESSAGES = st.one_of(
    st.builds(Load, model=st.text(), together=st.none() | COUNT),
    st.builds(Draw, task=TASK, order=ORDERS, index=COUNT),
    st.builds(Cancel, task=TASK),
    st.just(Stop()),
    st.builds(Ready, name=TASK, hash=TASK, family=TASK, knobs=KNOBS, own=COUNT, multiple=st.none() | COUNT,
              redraws=st.booleans(), room=COUNT, seconds=SECONDS, memory=COUNT),
    st.builds(Unable, error=st.text(), fault=st.booleans()),
    st.builds(Begun, task=TASK, seconds=SECONDS),
    st.builds(Advanced, places=st.lists(st.builds(At, task=TASK, step=COUNT, steps=COUNT), max_size=3).map(tuple),
              work=COUNT, seconds=SECONDS, memory=COUNT),
    st.builds(Seen, task=TASK, step=COUNT, steps=COUNT, size=SIZE, settings=SETTINGS),
    st.builds(Done, task=TASK, size=SIZE, settings=SETTINGS, seconds=SECONDS),
    st.builds(Failed, task=TASK, error=st.text(), fault=st.booleans()),
    st.builds(Gone, task=TASK),
)  # fmt: skip


def blobs_of(message: ToWorker | FromWorker) -> list[bytes]:
    match message:
        case Draw(order=order):
            return [b"image", b"mask"][: 1 + (order.mask is not None)]
        case Seen(size=(height, width)) | Done(size=(height, width)):
            return [bytes(range(3 * height * width))]
    return []


@given(MESSAGES)
def test_all_is_read_as_it_was_said(message: ToWorker | FromWorker) -> None:
    blobs = blobs_of(message)
    frame = read(io.BytesIO(packed(framed(message, *blobs))))
    assert frame is not None
    assert unframed(frame) == (message, tuple(blobs))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(MESSAGES, st.data())
def test_nothing_else_is_read(message: ToWorker | FromWorker, data: st.DataObject) -> None:
    """With a field less, or more, or of another kind, it is refused, or is another message of the same kind."""
    frame = framed(message, *blobs_of(message))
    fields = dict(frame.fields)
    name = data.draw(st.sampled_from([*fields, "else"]))
    fields[name] = data.draw(JSON)
    if data.draw(st.booleans()):
        del fields[data.draw(st.sampled_from(sorted(fields)))]
    try:
        found, _ = unframed(Frame(frame.kind, fields, frame.blobs))
    except WireError:
        return
    assert type(found) is type(message)


@pytest.mark.parametrize("kind", ["nobody", "", *sorted(KINDS)])
def test_a_message_of_nothing_is_refused(kind: str) -> None:
    if kind != "stop":
        with pytest.raises(WireError):
            unframed(Frame(kind, {}, ()))


@pytest.mark.parametrize(
    "frame",
    [
        Frame("cancel", {"task": "a"}, (b"1",)),
        Frame("seen", {"task": "a", "step": 1, "steps": 2, "size": [2, 3], "settings": {}}, (b"x" * 17,)),
        Frame("seen", {"task": "a", "step": 1, "steps": 2, "size": [-2, -3], "settings": {}}, (b"x" * 18,)),
        Frame("seen", {"task": "a", "step": 1, "steps": 2, "size": [0, 3], "settings": {}}, (b"",)),
        Frame("seen", {"task": "a", "step": 1, "steps": 2, "size": [2, 3], "settings": {}}, ()),
        Frame("draw", {"task": "a", "order": {"model": "m", "prompt": "p", "seed": 1, "count": 11}, "index": 0}, ()),
        Frame("draw", {"task": "a", "order": {"model": "m", "prompt": "p", "seed": 1}, "index": 0}, (b"image",)),
    ],
)
def test_pixels_and_files_are_those_that_were_announced(frame: Frame) -> None:
    with pytest.raises(WireError):
        unframed(frame)
