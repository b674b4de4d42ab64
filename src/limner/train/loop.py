"""The training loop: a generator, so that its caller owns what is shown and when it ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path

from limner.core import Batch, Family, InputError, Source
from limner.data.batches import Batches
from limner.store.features import Features
from limner.train import checkpoint, grid, looking, machine
from limner.train.folder import RunFolder
from limner.train.logs import Logs
from limner.train.recipe import Recipe, Train
from limner.train.saving import SaveModel, Saver
from limner.train.state import State
from limner.train.update import Outcome

CALIBRATION = 1024  # examples


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run is after an iteration. `validation`, `picture` and `checkpoint` are of this iteration, if any."""

    images: int
    fraction: float  # of the run that is done
    speed: float  # images per second since this process began
    losses: dict[str, dict[str, float]]  # by step
    norms: dict[str, float]  # of the gradients, by step
    share: float  # of the learning rate
    skipped: int  # updates so far that were not finite
    validation: dict[str, dict[str, float]] = field(default_factory=dict)
    picture: Path | None = None
    checkpoint: Path | None = None


def fit(
    family: Family,
    source: Source,
    validation: Source,
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool = False,
    calibrate: bool = True,
    save: SaveModel | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Train `family` in place until the recipe's images, or seconds, are over or `stop()` is true; then save, and end.

    `resume` goes on from the newest whole checkpoint of `folder`. `calibrate` is for a start from nothing, not
    from trained weights. `save(folder, family)` writes a model to draw with. Raises InputError where the folder,
    the recipe or the numbers are at fault, OSError where the first or the last checkpoint cannot be written.
    """
    with contextlib.ExitStack() as stack:
        run_folder = RunFolder(folder)
        stack.enter_context(run_folder.locked())
        run_folder.check_resumable() if resume else run_folder.check_fresh()
        run = _Run(State(family, recipe), run_folder, save)
        stack.callback(run.logs.close)
        run.resume() if resume else run.begin(source, calibrate=calibrate)
        stack.enter_context(run.keeping_features(source))
        batches = stack.enter_context(Batches(source, batch=recipe.train.batch, start=run.state.counts.images))
        while run.state.fraction < 1.0 and not stop():
            yield run.iterate(batches, validation, stop)
        run.saver.write()


def worth_compiling(train: Train) -> bool:
    """Whether the run is longer than the compiler takes to pay."""
    if train.seconds is not None:
        return train.seconds > machine.WORTH_COMPILING_SECONDS
    return train.images > machine.WORTH_COMPILING_IMAGES


class _Run:
    """A state, its folder, and the clock."""

    def __init__(self, state: State, folder: RunFolder, save: SaveModel | None) -> None:
        self.state, self.folder = state, folder
        self.requests = grid.requests(state.family, state.recipe.samples)
        self.logs = Logs(lines=folder.log, tensorboard=folder.tensorboard)
        self.saver = Saver(state, folder, save)
        self._started, self._from = time.monotonic(), 0
        train = state.recipe.train
        compile_family = getattr(state.family, "compile_for_training", None)
        if compile_family is not None and machine.pays_to_compile(
            train.compile, state.device, long=worth_compiling(train)
        ):
            compile_family()

    def begin(self, source: Source, *, calibrate: bool) -> None:
        """The first checkpoint comes before the first update: whatever is wrong with the disk shows now."""
        if calibrate:
            count = looking.within_an_epoch(CALIBRATION, source)
            self.state.calibrate(Batch.of([source[index] for index in range(count)]))
        self.folder.write_settings(self.state.recipe, self.state.family.tokenizer)
        self.saver.write()

    def resume(self) -> None:
        self.saver.restore()
        self._from = self.state.counts.images
        self.folder.write_settings(self.state.recipe, self.state.family.tokenizer)
        self.logs.event(self._from, "resumed")

    @contextlib.contextmanager
    def keeping_features(self, source: Source) -> Iterator[None]:
        """Within, a family that can keeps what its frozen parts say; of endless examples none would come again."""
        keep = getattr(self.state.family, "keep_features", None)
        if keep is None or not isinstance(source, Sized):
            yield
            return
        features = Features(self.folder.features, still=self.state.stands_still)
        keep(features)
        try:
            yield
        finally:
            keep(None)
            features.close()

    def iterate(self, batches: Iterator[Batch], validation: Source, stop: Callable[[], bool]) -> Progress:
        began = time.monotonic()
        outcomes = self.state.update([next(batches) for _ in range(self.state.recipe.train.accumulate)])
        self.state.counts.seconds += time.monotonic() - began
        self._log(outcomes)
        self._stop_if_hopeless(outcomes)
        measured: dict[str, dict[str, float]] = {}
        picture = None
        train = self.state.recipe.train
        if self._due(train.validate_every) and not stop():
            measured = looking.validate(self.state, validation)
            self.logs.scalars(self.state.counts.images, {"validation": measured})
        if self.requests and self._due(train.samples_every) and not stop():
            picture = self._draw()
        written = self.saver.write_if_due()
        return self._progress(outcomes, measured, picture, written)

    def _progress(
        self,
        outcomes: Mapping[str, Outcome],
        measured: dict[str, dict[str, float]],
        picture: Path | None,
        written: Path | None,
    ) -> Progress:
        return Progress(
            images=self.state.counts.images, fraction=self.state.fraction, speed=self._speed(),
            losses={name: one.losses for name, one in outcomes.items()},
            norms={name: one.norm for name, one in outcomes.items()},
            share=self.state.share, skipped=self.state.counts.skipped,
            validation=measured, picture=picture, checkpoint=written,
        )  # fmt: skip

    def _due(self, every: int) -> bool:
        """At multiples of `every` images, and at the end."""
        return self.state.passed(every) or self.state.fraction >= 1.0

    def _draw(self) -> Path | None:
        images = self.state.counts.images
        pixels = looking.draw(self.state, self.requests)
        self.logs.picture(images, pixels.numpy())
        return looking.keep_picture(pixels, self.folder.samples / f"{checkpoint.folder_name(images)}.png")

    def _speed(self) -> float:
        return (self.state.counts.images - self._from) / (time.monotonic() - self._started)

    def _log(self, outcomes: Mapping[str, Outcome]) -> None:
        self.logs.scalars(
            self.state.counts.images,
            {
                "seconds": self.state.counts.seconds, "fraction": self.state.fraction, "memory": machine.peak_memory(),
                "losses": {name: one.losses for name, one in outcomes.items()},
                "norms": {name: one.norm for name, one in outcomes.items()},
                "share": self.state.share, "speed": self._speed(), "skipped": self.state.counts.skipped,
            },
        )  # fmt: skip

    def _stop_if_hopeless(self, outcomes: Mapping[str, Outcome]) -> None:
        for name, outcome in outcomes.items():
            row = self.state.counts.bad_rows[name]
            if row >= self.state.recipe.train.stop_after_bad:
                raise InputError(
                    f'{row} updates of step "{name}" in a row were not finite (loss {outcome.losses["loss"]}, norm of '
                    f"the gradient {outcome.norm}, at {self.state.counts.images} images): lower optimizer.lr and "
                    f"optimizer.muon_lr, then --resume; the last good checkpoint is {self.saver.last}"
                )
