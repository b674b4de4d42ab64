"""A process with one model: `python -m limner.serve.studio.worker`, spoken to over its standard input and output.

It leaves when it is told to, and at once when its input ends, whatever it is doing: a worker never outlives its studio.
Interrupts and terminations, which reach whole groups of processes, are the studio's to answer.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, BinaryIO

from limner import engine
from limner.canvas import Sizes
from limner.pipeline import Pipeline
from limner.serve.studio import wire
from limner.serve.studio.easel import Easel, Told, explained, memory
from limner.serve.studio.measuring import room
from limner.serve.studio.messages import (
    Cancel,
    Draw,
    FromWorker,
    Gone,
    Load,
    Ready,
    Stop,
    ToWorker,
    Unable,
    framed,
    unframed,
)

Inbox = queue.SimpleQueue[tuple[ToWorker, Sequence[bytes]]]


class Leave(Exception):  # noqa: N818
    """It was told to stop."""


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    came, went = _pipes()
    inbox: Inbox = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(came, inbox), daemon=True, name="listening").start()
    try:
        _work(inbox, went)
    except Leave:
        return 0
    except BrokenPipeError:  # nobody reads any more
        return 0
    return 1


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Input and output for frames alone: what anything else prints goes to the errors, what it reads is nothing."""
    came, went = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return came, went


def _listen(pipe: BinaryIO, inbox: Inbox) -> None:
    """Ends the process with its input. At once, since a step of a large model takes minutes."""
    try:
        while (frame := wire.read(pipe)) is not None:
            message, blobs = unframed(frame)
            assert isinstance(message, ToWorker), message
            inbox.put((message, blobs))
    except Exception as error:
        print(f"worker: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def _work(inbox: Inbox, went: BinaryIO) -> None:
    load, _ = inbox.get()
    assert isinstance(load, Load), load
    try:
        easel, ready = _loaded(load)
    except Exception as error:
        line, fault = explained(error)
        _tell(went, Unable(error=line, fault=fault))
        return
    _tell(went, ready)
    while True:
        _listened(easel, inbox, went)
        for message, blobs in easel.step():
            _tell(went, message, *blobs)


def _loaded(load: Load) -> tuple[Easel, Ready]:
    began = time.perf_counter()
    pipe = Pipeline.from_pretrained(load.model, precision=load.precision, compile=load.compile)
    engine.keep_memory()  # the same buffers come again at each step
    pixels = room(pipe, load.together)
    ready = Ready(**_about(pipe), room=pixels, seconds=time.perf_counter() - began, memory=memory())
    return Easel(pipe, room=pixels), ready


def _about(pipe: Pipeline) -> dict[str, Any]:
    knobs = pipe.knobs({})
    known = {one.name for one in fields(knobs)}
    return {
        "name": pipe.name, "hash": pipe.hash, "family": _family(pipe), "knobs": asdict(knobs),
        **asdict(Sizes.of(pipe.family)), "redraws": "strength" in known,
    }  # fmt: skip


def _family(pipe: Pipeline) -> str:
    from limner import families

    return families.name_of(pipe.family)


def _listened(easel: Easel, inbox: Inbox, went: BinaryIO) -> None:
    """All that was said since the last step is done; with nothing to draw, there is time to wait for more."""
    while not len(easel) or not inbox.empty():
        message, blobs = inbox.get()
        for told in _done(easel, message, list(blobs)):
            _tell(went, told[0], *told[1])


def _done(easel: Easel, message: ToWorker, blobs: list[bytes]) -> list[Told]:
    match message:
        case Draw(order=order):
            image = blobs[0] if order.image is not None else None
            mask = blobs[-1] if order.mask is not None else None
            return easel.add(message, image, mask)
        case Cancel(task=task):
            easel.drop(task)
            return [(Gone(task=task), ())]
        case Stop():
            raise Leave
        case Load():
            raise AssertionError("a worker has one model")


def _tell(pipe: BinaryIO, message: FromWorker, *blobs: bytes) -> None:
    wire.write(pipe, framed(message, *blobs))


if __name__ == "__main__":
    sys.exit(main())
