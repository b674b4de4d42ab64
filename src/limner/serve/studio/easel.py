"""The pictures that one worker has in the making, whoever wants them: they join, take steps together, and leave.

It knows no pipe and no process: `step` takes what there is one step further and says what came of it.
"""

from __future__ import annotations

import math
import resource
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from limner.core import InputError, Request, Sketch, unparse
from limner.pipeline import Picture, Pipeline
from limner.serve.studio.asking import asked
from limner.serve.studio.batching import Batch
from limner.serve.studio.messages import Advanced, At, Begun, Done, Draw, Failed, FromWorker, Seen
from limner.serve.traces import traced

Told = tuple[FromWorker, tuple[bytes, ...]]


@dataclass(slots=True)
class Piece:
    """A picture in the making. `company` is the most that it took a step with, itself among them."""

    task: str
    request: Request
    sketch: Sketch
    shown: frozenset[int]  # the steps after which somebody would like to see it
    before: int = 0  # steps of the first time, where this is the second
    company: int = 1

    @property
    def twice(self) -> bool:
        return self.before > 0

    @property
    def at(self) -> At:
        return At(task=self.task, step=self.before + self.sketch.step, steps=self.steps)

    @property
    def steps(self) -> int:
        # What is drawn twice has as many steps the second time, but for those that its strength leaves out.
        canvas = getattr(self.request, "canvas", None)
        first = canvas is not None and canvas.twice
        return self.before + self.sketch.steps * (2 if first else 1)


class Easel:
    def __init__(self, pipe: Pipeline, *, room: int) -> None:
        self._pipe = pipe
        self._batch: Batch[str] = Batch(room)
        self._pieces: dict[str, Piece] = {}

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, draw: Draw, image: bytes | None = None, mask: bytes | None = None) -> list[Told]:
        """From the next step on it is drawn; what there is to say if it cannot be."""
        return self._safely(draw.task, lambda: self._begin(draw, image, mask))

    def drop(self, task: str) -> None:
        """Nobody wants it any more."""
        self._leave(task)
        self._rest()

    def step(self) -> Iterator[Told]:
        """One step of those whose turn it is; at least one picture is there."""
        yield from self._stepped([self._pieces[name] for name in self._batch.choose()])
        self._rest()

    def _stepped(self, pieces: Sequence[Piece]) -> Iterator[Told]:
        undone = [one for one in pieces if not one.sketch.done]
        began = time.perf_counter()
        try:
            self._pipe.advance([one.sketch for one in undone]) if undone else None
        except Exception as error:
            yield from self._spoilt(undone, error)
            return
        yield self._advanced(undone, time.perf_counter() - began)
        for piece in pieces:
            yield from self._safely(piece.task, lambda piece=piece: self._after(piece))  # type: ignore[misc]

    def _rest(self) -> None:
        if not self._pieces:
            self._pipe.rest()

    # -- beginning -----------------------------------------------------------------------------------

    def _begin(self, draw: Draw, image: bytes | None, mask: bytes | None) -> list[Told]:
        began = time.perf_counter()
        request = asked(self._pipe, draw.order, draw.index, image=image, mask=mask)
        [sketch] = self._pipe.begin([request])
        self._place(Piece(draw.task, request, sketch, shown_after(sketch.step, sketch.steps, draw.order.previews)))
        return [(Begun(task=draw.task, seconds=time.perf_counter() - began), ())]

    def _place(self, piece: Piece, *, alone: bool = False) -> None:
        sketch = piece.sketch
        own = self._pipe.family.config.image_size
        pixels = math.prod(sketch.request.size or (own, own))
        self._pieces[piece.task] = piece
        self._batch.join(piece.task, pixels=pixels, steps=max(1, sketch.steps - sketch.step), alone=alone)

    # -- after a step --------------------------------------------------------------------------------

    def _advanced(self, pieces: Sequence[Piece], seconds: float) -> Told:
        for piece in pieces:
            piece.company = max(piece.company, len(pieces))
        own = self._pipe.family.config.image_size
        work = sum(math.prod(one.sketch.request.size or (own, own)) for one in pieces)
        places = tuple(piece.at for piece in pieces)
        return Advanced(places=places, work=work, seconds=seconds, memory=memory()), ()

    def _after(self, piece: Piece) -> list[Told]:
        if piece.sketch.done:
            return self._finish(piece)
        if piece.sketch.step not in piece.shown or piece.twice:
            return []
        [seen] = self._pipe.previews([piece.sketch])
        return [] if seen is None else [_seen(piece, seen)]

    def _leave(self, task: str) -> None:
        self._batch.leave(task)
        self._pieces.pop(task, None)

    def _finish(self, piece: Piece) -> list[Told]:
        """It leaves, or is drawn once more and larger."""
        self._leave(piece.task)
        larger = self._pipe.larger(piece.sketch)
        if larger is None:
            began = time.perf_counter()
            picture = self._pipe.picture(piece.sketch, batch=piece.company)
            return [_done(piece, picture, time.perf_counter() - began)]
        [sketch] = self._pipe.begin([larger])
        again = Piece(piece.task, larger, sketch, frozenset(), before=piece.sketch.steps, company=piece.company)
        self._place(again)
        return []

    # -- failing -------------------------------------------------------------------------------------

    def _safely(self, task: str, work: Callable[[], list[Told]]) -> list[Told]:
        try:
            return work()
        except Exception as error:
            self._leave(task)
            return [failed(task, error)]

    def _spoilt(self, pieces: Sequence[Piece], error: Exception) -> Iterator[Told]:
        """Their step failed. Which one it was for nobody knows, so that each begins anew, and goes on alone."""
        for piece in pieces:
            self._leave(piece.task)
        if len(pieces) == 1:
            yield failed(pieces[0].task, error)
            return
        for piece in pieces:
            yield from self._safely(piece.task, lambda piece=piece: self._anew(piece))  # type: ignore[misc]

    def _anew(self, piece: Piece) -> list[Told]:
        [sketch] = self._pipe.begin([piece.request])
        company = piece.company if piece.twice else 1  # the first time is not drawn again
        again = Piece(piece.task, piece.request, sketch, piece.shown, before=piece.before, company=company)
        self._place(again, alone=True)
        return []


def shown_after(start: int, steps: int, previews: int) -> frozenset[int]:
    """The steps after which a picture is shown: `previews` of them, evenly between the start and the end, or all."""
    left = steps - start
    count = min(previews, left - 1)
    return frozenset(start + (number + 1) * left // (count + 1) for number in range(count))


def failed(task: str, error: Exception) -> Told:
    line, fault = explained(error)
    return Failed(task=task, error=line, fault=fault), ()


def explained(error: Exception) -> tuple[str, bool]:
    """The line for the user, and whether the fault is ours: then it is a number, and the log has the rest."""
    if isinstance(error, InputError):
        return str(error), False
    number = secrets.token_hex(4)
    print(f"error {number}: {traced(error)}", file=sys.stderr, flush=True)
    return number, True


def memory() -> int:
    """What this process holds, in bytes; where the system does not say it, the most that it ever held."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else 1024 * most


def _seen(piece: Piece, seen: Picture) -> Told:
    image = seen.image
    at = piece.at
    size, settings = (image.height, image.width), unparse(seen.settings)
    return Seen(task=at.task, step=at.step, steps=at.steps, size=size, settings=settings), (image.tobytes(),)


def _done(piece: Piece, picture: Picture, seconds: float) -> Told:
    image = picture.image
    settings = unparse(picture.settings)
    size = (image.height, image.width)
    return Done(task=piece.task, size=size, settings=settings, seconds=seconds), (image.tobytes(),)
