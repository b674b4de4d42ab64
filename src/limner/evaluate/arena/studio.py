"""Where the pictures are drawn that are still missing, while people vote on those that are there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.core import InputError, Sketch
from limner.drawing import BATCH
from limner.evaluate.arena.entrants import Entrant, Model
from limner.evaluate.arena.subjects import Subject
from limner.evaluate.arena.votes import Votes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How many of the pictures are there. `fault` says why no more are drawn, if so."""

    drawn: int
    total: int
    fault: str = ""


class StoppedError(Exception):
    """Somebody asked the drawing to end, between two steps of a picture."""


class Studio:
    """Hangs the pictures of a session: at once those that are there, the others by `draw`, or `start` in a thread."""

    def __init__(
        self, votes: Votes, session: int, entrants: Sequence[Entrant], subjects: Sequence[Subject],
        watch: Callable[[Progress], object] = lambda progress: None,
    ) -> None:  # fmt: skip
        self._votes, self._session, self._entrants, self._subjects = votes, session, entrants, subjects
        self._watch = watch
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="studio", daemon=True)
        drawn = sum(self._hang(one, _there(one, subjects)) for one in entrants)
        self.progress = Progress(drawn, sum(one.offers(subject) for one in entrants for subject in subjects))

    def draw(self) -> None:
        """Draw what is missing: a few subjects by everybody, then the next few, so that there are pairs early."""
        for start in range(0, len(self._subjects), BATCH):
            for one in self._entrants:
                few = self._subjects[start : start + BATCH]
                if isinstance(one, Model) and (missing := [each for each in few if one.picture(each) is None]):
                    self._draw(one, missing)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the step that is being computed is done."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        try:
            self.draw()
        except StoppedError:
            pass
        except Exception as error:  # whatever it is, somebody waits for these pictures and has to hear of it
            foreseen = isinstance(error, InputError | OSError)
            log.error("no more pictures are drawn: %s", error, exc_info=not foreseen)
            self._tell(Progress(self.progress.drawn, self.progress.total, str(error)))

    def _draw(self, one: Model, subjects: Sequence[Subject]) -> None:
        for picture in one.draw(subjects, self._on_step):
            self._tell(Progress(self.progress.drawn + self._hang(one, [picture]), self.progress.total))

    def _hang(self, one: Entrant, pictures: Sequence[tuple[Subject, Path]]) -> int:
        self._votes.hang(self._session, one.contestant, pictures)
        return len(pictures)

    def _tell(self, progress: Progress) -> None:
        self.progress = progress
        self._watch(progress)

    def _on_step(self, sketches: Sequence[Sketch]) -> None:
        if self._stop.is_set():
            raise StoppedError


def _there(one: Entrant, subjects: Sequence[Subject]) -> list[tuple[Subject, Path]]:
    return [(subject, path) for subject in subjects if (path := one.picture(subject)) is not None]
