"""What the studio and its workers say to one another: one frame of the wire each, read strictly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from limner.canvas import Size
from limner.core import InputError, parse, unparse
from limner.serve.orders import Order
from limner.serve.studio.wire import Frame, WireError

# ---------------------------------------------------------------------------------------------------
# To a worker.


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The first message: which model, by its name or folder. `together` is how many pictures of its own size are to be
    drawn at once, where that is not to be measured."""

    model: str
    precision: str = "auto"
    compile: str = "auto"
    together: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Picture `index` of an order is to be drawn, as `task`. The order's image and mask come as blobs, PNG files."""

    task: str
    order: Order
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    task: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Leave, whatever is in the making."""


# ---------------------------------------------------------------------------------------------------
# From a worker.


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The model is loaded. `knobs` are names and defaults; `own` is the side of its usual picture, `multiple` as
    `canvas.Sizes` has it, `redraws` whether it draws over images. `room` is how many pixels it draws well at once.
    `seconds` is what loading took, and `memory` what the process holds, in bytes."""

    name: str
    hash: str
    family: str
    knobs: dict[str, Any]
    own: int
    multiple: int | None
    redraws: bool
    room: int
    seconds: float
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unable:
    """The model cannot be loaded, and why: a line for the user or, with `fault`, the number of an error in the log."""

    error: str
    fault: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A picture's text is read, which took so many seconds; it steps from now on."""

    task: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """How far a picture is. One that is drawn twice has the steps of both times."""

    task: str
    step: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """A step of the pictures in `places` was done in so many seconds; `work` is their pixels, all together."""

    places: tuple[At, ...]
    work: int
    seconds: float
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A running estimate after `step`; the blob is its pixels, RGB, 8 bits each, row by row."""

    task: str
    step: int
    steps: int
    size: Size
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A picture is finished; the blob is its pixels, as those of `Seen`. `settings` are `provenance.Settings`, and
    `seconds` is what making pixels of what was drawn took."""

    task: str
    size: Size
    settings: dict[str, Any]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A picture could not be drawn: see `Unable`."""

    task: str
    error: str
    fault: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """A picture that was cancelled takes no further step."""

    task: str


ToWorker = Load | Draw | Cancel | Stop
FromWorker = Ready | Unable | Begun | Advanced | Seen | Done | Failed | Gone
KINDS: dict[str, type[ToWorker | FromWorker]] = {
    "load": Load, "draw": Draw, "cancel": Cancel, "stop": Stop,
    "ready": Ready, "unable": Unable, "begun": Begun,
    "advanced": Advanced, "seen": Seen, "done": Done, "failed": Failed, "gone": Gone,
}  # fmt: skip
NAMES = {kind: name for name, kind in KINDS.items()}


def framed(message: ToWorker | FromWorker, *blobs: bytes) -> Frame:
    assert len(blobs) == _count(message), f"{len(blobs)} blobs do not go with {message}"
    return Frame(NAMES[type(message)], unparse(message), blobs)


def unframed(frame: Frame) -> tuple[ToWorker | FromWorker, Sequence[bytes]]:
    """The message and its blobs; WireError where it is none of ours."""
    if frame.kind not in KINDS:
        raise WireError(f'there is no message of kind "{frame.kind}"')
    try:
        message = parse(KINDS[frame.kind], frame.fields, frame.kind)
    except InputError as error:
        raise WireError(str(error)) from None
    count = _count(message)
    if len(frame.blobs) != count:
        raise WireError(f"{len(frame.blobs)} blobs came with a message {frame.kind}, which has {count}")
    _check_pixels(message, frame.blobs)
    return message, frame.blobs


def _count(message: ToWorker | FromWorker) -> int:
    """How many blobs come with it."""
    if isinstance(message, Draw):
        return sum(one is not None for one in (message.order.image, message.order.mask))
    return int(isinstance(message, Seen | Done))


def _check_pixels(message: ToWorker | FromWorker, blobs: Sequence[bytes]) -> None:
    if isinstance(message, Seen | Done):
        height, width = message.size
        if min(height, width) < 1 or len(blobs[0]) != 3 * height * width:
            raise WireError(f"{len(blobs[0])} bytes are not a picture of {width} x {height}")
