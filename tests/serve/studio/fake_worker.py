"""A worker that needs no model: `python -m tests.serve.studio.fake_worker`. What a prompt says it does.

die        it is gone while it draws this          hang     it says nothing more
fail       it could not draw it, by its own fault  refuse   the model cannot draw it
slow       each step takes a tenth of a second     nonsense it says what is no message
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time

from limner.serve.studio import wire
from limner.serve.studio.messages import (
    Advanced,
    At,
    Begun,
    Cancel,
    Done,
    Draw,
    Failed,
    Gone,
    Load,
    Ready,
    Seen,
    Stop,
    Unable,
    framed,
    unframed,
)  # fmt: skip

STEPS, SIDE = 4, 2


def main() -> None:
    inbox: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=listen, args=(inbox,), daemon=True).start()
    load = inbox.get()
    assert isinstance(load, Load)
    if "unable" in load.model:
        say(Unable(error=f"{load.model} is torn", fault=False))
        return
    say(Ready(name=load.model, hash="0" * 64, family="fake", knobs={"steps": STEPS}, own=SIDE, multiple=None,
              redraws=False, room=4 * SIDE**2, seconds=0.0, memory=100))  # fmt: skip
    drawing: dict[str, tuple[Draw, int]] = {}
    while True:
        while not drawing or not inbox.empty():
            heard(inbox.get(), drawing)
        step(drawing)


def listen(inbox: queue.SimpleQueue) -> None:
    while (frame := wire.read(sys.stdin.buffer)) is not None:
        inbox.put(unframed(frame)[0])
    os._exit(0)


def heard(message: object, drawing: dict[str, tuple[Draw, int]]) -> None:
    match message:
        case Draw(task=task):
            drawing[task] = (message, 0)
            say(Begun(task=task, seconds=0.0))
        case Cancel(task=task):
            drawing.pop(task, None)
            say(Gone(task=task))
        case Stop():
            os._exit(0)


def step(drawing: dict[str, tuple[Draw, int]]) -> None:
    for task, (draw, done) in list(drawing.items()):
        prompt = draw.order.prompt
        if "die" in prompt and done == 1:
            os._exit(9)
        if "nonsense" in prompt:
            sys.stdout.buffer.write(b"hello\n")
            sys.stdout.buffer.flush()
        if "hang" in prompt:
            time.sleep(3600)
        if "slow" in prompt:
            time.sleep(0.1)
        if "fail" in prompt or "refuse" in prompt:
            del drawing[task]
            say(
                Failed(
                    task=task, error="0badc0de" if "fail" in prompt else "it has no such size", fault="fail" in prompt
                )
            )
            continue
        drawing[task] = (draw, done + 1)
    places = tuple(At(task=task, step=done, steps=STEPS) for task, (_, done) in drawing.items())
    if places:
        say(Advanced(places=places, work=len(places) * SIDE**2, seconds=0.01, memory=100))
    for task, (draw, done) in list(drawing.items()):
        if draw.order.previews and done < STEPS:
            say(Seen(task=task, step=done, steps=STEPS, size=(SIDE, SIDE), settings={}), bytes(3 * SIDE**2))
        if done >= STEPS:
            del drawing[task]
            settings = {"seed": draw.order.seed + draw.index}
            say(Done(task=task, size=(SIDE, SIDE), settings=settings, seconds=0.0), bytes([draw.index] * 3 * SIDE**2))


def say(message: object, *blobs: bytes) -> None:
    wire.write(sys.stdout.buffer, framed(message, *blobs))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
