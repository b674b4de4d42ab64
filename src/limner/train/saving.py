"""When a run is written down, and what happens when the disk does not take it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from limner.core import Family
from limner.train import checkpoint
from limner.train.folder import RunFolder
from limner.train.state import State

log = logging.getLogger(__name__)
SaveModel = Callable[[Path, Family], None]


class Saver:
    """Writes checkpoints, and beside them the model to draw with, of averaged weights."""

    def __init__(self, state: State, folder: RunFolder, save_model: SaveModel | None) -> None:
        self.last: Path | None = None  # the newest checkpoint that is known to be whole
        self._state, self._folder, self._save_model = state, folder, save_model
        self._tried_at = time.monotonic()

    def restore(self) -> None:
        self.last, contents = checkpoint.newest(self._folder.checkpoints)
        self._state.restore(contents, where=self.last)

    def write(self) -> Path:
        """A checkpoint of now, unless there is one, and the model. Raises OSError; what was there before stays."""
        images = self._state.counts.images
        if self.last is None or self.last.name != checkpoint.folder_name(images):
            contents = self._state.contents(milestone=self._at_milestone())
            self.last = checkpoint.write(self._folder.checkpoints, contents, images=images)
            checkpoint.prune(self._folder.checkpoints, keep=self._state.recipe.train.keep)
        if self._save_model is not None:
            with self._state.resting():
                self._save_model(self._folder.model, self._state.family)
        self._tried_at = time.monotonic()
        return self.last

    def write_if_due(self) -> Path | None:
        """As `write`, at milestones and every so many seconds; a failure is a warning, and the next try comes."""
        due = time.monotonic() - self._tried_at >= self._state.recipe.train.checkpoint_every
        if not due and not self._at_milestone():
            return None
        try:
            return self.write()
        except OSError as error:
            self._tried_at = time.monotonic()
            log.warning(
                "%d images could not be saved (%s); training goes on and tries again; the last good checkpoint is %s",
                self._state.counts.images, error.strerror or error, self.last,
            )  # fmt: skip
            return None

    def _at_milestone(self) -> bool:
        every = self._state.recipe.train.milestone_every
        return every is not None and self._state.counts.images > 0 and self._state.passed(every)
