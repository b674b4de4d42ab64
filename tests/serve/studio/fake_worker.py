"""A worker that needs no model, and no library to begin with: it speaks the wire and does what it is told.

A prompt is words:                                   A model's name may be:
die       it is gone in its second step              unable    it is torn
torn      and so in the middle of a frame            broken    it kills who loads it
nonsense  it says what is no frame                   mute      it says nothing when it is loaded
hang      it says nothing more                       stubborn  who has it does not leave
fail      it cannot draw this, by its own fault      parent    who has it starts another, with its errors
refuse    it cannot draw this, and says why
slow      it takes a while before it says anything
wait F    the file F is waited for, after a step
second F  so it is for all pictures but the first
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

from limner.serve.studio.wire import Frame, read, write

STEPS, SIDE, ROOM = 4, 2, 4  # `ROOM` pictures together
WHILE, NEVER = 0.2, 3600.0

Inbox = queue.SimpleQueue[tuple[str, dict]]


class Picture:
    def __init__(self, draw: dict) -> None:
        self.task, self.index, self.order = draw["task"], draw["index"], draw["order"]
        self.words = self.order["prompt"].split()
        self.step = 0

    @property
    def waits(self) -> bool:
        waiting = self.words[0] == "wait" or (self.words[0] == "second" and self.index > 0)
        return waiting and self.step == 1 and not Path(self.words[1]).exists()

    @property
    def settings(self) -> dict:
        return {
            "prompt": self.order["prompt"], "negative_prompt": "", "seed": self.order["seed"] + self.index,
            "family": "fake", "knobs": {}, "model": "fake", "model_hash": "", "width": SIDE, "height": SIDE,
            "limner": "", "torch": "",
        }  # fmt: skip


def main() -> None:
    inbox: Inbox = queue.SimpleQueue()
    threading.Thread(target=listen, args=(inbox,), daemon=True).start()
    load(Path(inbox.get()[1]["model"]))
    pictures: dict[str, Picture] = {}
    while True:
        while not pictures or not inbox.empty():
            hear(*inbox.get(), pictures)
        step(pictures)


def listen(inbox: Inbox) -> None:
    while (frame := read(sys.stdin.buffer)) is not None:
        inbox.put((frame.kind, dict(frame.fields)))
    os._exit(0)


def load(model: Path) -> None:
    if model.name == "broken":
        os._exit(7)
    if model.name == "mute":
        time.sleep(NEVER)
    if model.name == "unable":
        say("unable", error=f"{model} is torn", fault=False)
        os._exit(1)
    if model.name == "parent":
        endless = [sys.executable, "-S", "-c", f"import time; time.sleep({NEVER})"]
        child = subprocess.Popen(endless, stdout=subprocess.DEVNULL)
        model.write_text(str(child.pid))
    say("ready", name=model.name, hash="0" * 64, family="fake", knobs={"steps": STEPS}, own=SIDE, multiple=None,
        redraws=False, room=ROOM * SIDE**2, seconds=0.0, memory=100)  # fmt: skip
    if model.name == "stubborn":
        time.sleep(NEVER)


def hear(kind: str, fields: dict, pictures: dict[str, Picture]) -> None:
    if kind == "draw":
        one = pictures[fields["task"]] = Picture(fields)
        time.sleep(WHILE if one.words[0] == "slow" else 0.0)
        say("begun", task=fields["task"], seconds=0.0)
    elif kind == "cancel":
        pictures.pop(fields["task"], None)
        say("gone", task=fields["task"])
    elif kind == "stop":
        os._exit(0)


def step(pictures: dict[str, Picture]) -> None:
    for one in list(pictures.values()):
        suffer(one, pictures)
    stepping = [one for one in pictures.values() if not one.waits]
    for one in stepping:
        one.step += 1
    if stepping:
        places = [{"task": one.task, "step": one.step, "steps": STEPS} for one in stepping]
        say("advanced", places=places, work=len(places) * SIDE**2, seconds=0.01, memory=100)
    for one in stepping:
        show(one, pictures)
    time.sleep(0.005)


def suffer(one: Picture, pictures: dict[str, Picture]) -> None:
    """What a prompt tells it to."""
    word = one.words[0]
    if word in ("die", "torn") and one.step == 1:
        sys.stdout.buffer.write(b"LMNR\0" if word == "torn" else b"")
        sys.stdout.buffer.flush()
        os._exit(9)
    if word == "nonsense":
        sys.stdout.buffer.write(b"hello, this was printed\n")
        sys.stdout.buffer.flush()
    if word == "hang":
        time.sleep(NEVER)
    if word in ("fail", "refuse"):
        del pictures[one.task]
        error = "0badc0de" if word == "fail" else "it has no such size"
        say("failed", task=one.task, error=error, fault=word == "fail")


def show(one: Picture, pictures: dict[str, Picture]) -> None:
    if one.step == STEPS:
        del pictures[one.task]
        pixels = bytes([one.index] * 3 * SIDE**2)
        say("done", pixels, task=one.task, size=[SIDE, SIDE], settings=one.settings, seconds=0.0)
    elif one.order["previews"]:
        say("seen", bytes(3 * SIDE**2), task=one.task, step=one.step, steps=STEPS, size=[SIDE, SIDE], settings={})


def say(kind: str, *blobs: bytes, **fields: object) -> None:
    write(sys.stdout.buffer, Frame(kind, fields, blobs))


if __name__ == "__main__":
    main()
