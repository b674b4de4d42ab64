"""One session of judging: what is shown next, what a vote does, and when the names may be seen."""

from __future__ import annotations

from random import Random, SystemRandom

from limner.core import InputError
from limner.evaluate.arena.matches import choose, sides
from limner.evaluate.arena.records import Choice, Showing
from limner.evaluate.arena.studio import Progress, Studio
from limner.evaluate.arena.votes import Votes


class UnknownError(InputError):
    """There is no such showing."""


class RefusedError(InputError):
    """A vote that cannot count: its showing has another one, or the session is over."""


class Arena:
    """A session over `votes`, with the pictures that `studio` hangs in it. For any number of threads.

    Until `finish` is called nothing that an Arena gives out says who drew a picture. Afterwards no vote is taken, since
    it would not be blind.
    """

    def __init__(self, votes: Votes, session: int, studio: Studio, random: Random | None = None) -> None:
        self.votes, self._session, self._studio = votes, session, studio
        self._random = random or SystemRandom()

    @property
    def progress(self) -> Progress:
        return self._studio.progress

    @property
    def finished(self) -> bool:
        return self.votes.finished(self._session)

    def pair(self, token: str) -> Showing | None:
        """What to show to somebody who last saw `token`: that again without a vote on it, else the next pair.

        So nobody can go on to an easier pair by loading the page again. None if no pair is drawn yet, or none is left.
        """
        last = self.votes.showing(token)
        if last is not None and last.choice is None and self._whole(last):
            return last
        while pair := choose(self.votes.candidates(self._session), self._random):
            showing = self.votes.showing(self.votes.show(*sides(pair, self._random)))
            assert showing is not None
            if self._whole(showing):
                return showing
        return None

    def vote(self, token: str, choice: Choice) -> None:
        """Count a vote; the same one again changes nothing. It is on the disk when this returns."""
        if self.votes.showing(token) is None:
            raise UnknownError("there is no such pair; load the page again")
        counted = self.votes.cast(self._session, token, choice)
        if counted is None:
            raise RefusedError("this session is finished, and the names have been shown; start limner arena again")
        if counted != choice:
            raise RefusedError("this pair has another vote already")

    def finish(self) -> None:
        """End the session, for good."""
        self.votes.finish(self._session)

    def _whole(self, showing: Showing) -> bool:
        """Whether both files are still there; one that is gone takes part no longer."""
        gone = [picture for picture in (showing.left, showing.right) if not picture.path.is_file()]
        for picture in gone:
            self.votes.take_down(self._session, picture)
        return not gone
