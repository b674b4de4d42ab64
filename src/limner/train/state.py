"""The state of a run: weights, averages, optimisers, two random states and a few counts. All of it is in a checkpoint.

The place in the data is the number of images seen, so nothing else is needed to go on.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from limner.core import Batch, Family, InputError, Step, unparse
from limner.train import machine
from limner.train.checkpoint import Contents
from limner.train.ema import Ema
from limner.train.recipe import Recipe
from limner.train.schedule import Stage, crossed, ema_decay, rate
from limner.train.update import Outcome, Updater


@dataclass(slots=True, kw_only=True)
class Counts:
    images: int = 0
    seconds: float = 0.0  # that training took so far
    iteration: int = 0
    skipped: int = 0  # updates that were not finite
    bad_rows: dict[str, int] = field(default_factory=dict)  # by step: how many of its last updates in a row
    began: dict[str, int] = field(default_factory=dict)  # by step: the images that were seen before it


class State:
    """A family and all that training it needs. `update` moves it by one iteration."""

    def __init__(self, family: Family, recipe: Recipe) -> None:
        self.family, self.recipe = family, recipe
        self.device = machine.device()
        self.precision = machine.precision(recipe.train.precision, self.device)
        own_memory(family)
        family.to(self.device).train()
        torch.manual_seed(recipe.train.seed)  # for dropout; what a loss draws comes from the generator
        self.generator = torch.Generator().manual_seed(recipe.train.seed)
        steps = chosen_steps(family, recipe)
        self.updaters = [Updater(family, step, recipe, self.precision) for step in steps]
        self._stages = stages(steps, recipe)
        self.ema = Ema({name: one for updater in self.updaters for name, one in updater.parameters.items()})
        self.counts = Counts()
        self._moving: set[int] = set()  # ids of the parameters that are trained in this iteration or later
        self.share = 0.0  # of the learning rate in the last iteration; where stages overlap, the last step's
        self.stride = recipe.train.batch * recipe.train.accumulate  # images to an iteration

    @property
    def fraction(self) -> float:
        """How much of the run is done, from 0 to 1. Stages, rates, annealing and the run's end go by this alone."""
        train = self.recipe.train
        done = self.counts.images / train.images if train.seconds is None else self.counts.seconds / train.seconds
        return min(1.0, done)

    @property
    def begun(self) -> list[Updater]:
        """Of the steps whose stage has come: the others have learnt nothing yet."""
        return [one for one in self.updaters if self._stages[one.step.name].start <= self.fraction]

    def part(self, step: Step) -> float:
        """How much of the run a step is trained for, from 0 to 1."""
        stage = self._stages[step.name]
        return stage.end - stage.start

    def stands_still(self, part: nn.Module) -> bool:
        """Whether `part` is the same for the rest of the training; but while the run is `resting`, it is another."""
        return part.training and self._moving.isdisjoint(map(id, part.parameters()))

    def passed(self, every: int) -> bool:
        """Whether the iteration ending now passed a multiple of `every` images."""
        return crossed(self.counts.images, stride=self.stride, every=every)

    def calibrate(self, batch: Batch) -> None:
        self.family.calibrate(batch.to(self.device))
        self.ema = Ema(self.ema.parameters)

    def update(self, batches: Sequence[Batch]) -> dict[str, Outcome]:
        """One iteration, by step: those that are due, in their order, each on all of `batches`."""
        ahead = [one for one in self.updaters if self.fraction < self._stages[one.step.name].end]
        self._moving = {id(parameter) for one in ahead for parameter in one.step.parameters}
        active = [one for one in self.updaters if self._stages[one.step.name].holds(self.fraction)]
        due = [one for one in active if self.counts.iteration % one.step.every == 0]
        for one in active:
            self._prepare(one.step)
        self.counts.images += self.stride
        self.counts.iteration += 1
        shares = {one.step.name: self._share(one.step.name) for one in active}
        self.share = shares[active[-1].step.name]
        batches = [batch.to(self.device) for batch in batches]
        outcomes = {one.step.name: one(batches, self.generator, share=shares[one.step.name]) for one in due}
        self._average(outcomes)
        for name, outcome in outcomes.items():
            self.counts.skipped += not outcome.finite
            self.counts.bad_rows[name] = 0 if outcome.finite else self.counts.bad_rows.get(name, 0) + 1
        return outcomes

    def _prepare(self, step: Step) -> None:
        self.counts.began.setdefault(step.name, self.counts.images)
        if step.anneal is not None:
            step.anneal(self._stages[step.name].passed(self.fraction))

    def _share(self, name: str) -> float:
        """Of the learning rate, as though the stage were the run."""
        images = self.counts.images - self.counts.began[name]
        return rate(self.recipe.optimizer, images=images, passed=self._stages[name].passed(self.fraction))

    def _average(self, outcomes: Mapping[str, Outcome]) -> None:
        """A step that rested is averaged too, as its weights stood still; one whose update was skipped is not."""
        decay = ema_decay(self.counts.images, half_life=self.recipe.train.ema, stride=self.stride)
        skipped = {name for name, one in outcomes.items() if not one.finite}
        names = [name for one in self.updaters if one.step.name not in skipped for name in one.parameters]
        self.ema.update(list(dict.fromkeys(names)), decay)

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Within: averaged weights, evaluation mode, no gradients, and random states that do not move.

        Nothing is compiled: each shape of a grid or of a last batch would cost more than it brings.
        """
        devices = [self.device] if self.device.type == "cuda" else []
        eager = torch.compiler.set_stance("force_eager")
        with torch.no_grad(), torch.random.fork_rng(devices), eager, self.ema.applied():
            self.family.eval()
            try:
                yield
            finally:
                self.family.train()

    # -- to a checkpoint and back ------------------------------------------------------------------

    def contents(self, *, milestone: bool) -> Contents:
        optimizer = {
            f"{updater.step.name}/{name}": value
            for updater in self.updaters
            for name, value in updater.optimisers.tensors().items()
        }
        random = {"losses": self.generator.get_state(), "torch": torch.get_rng_state()}
        if self.device.type == "cuda":
            random["cuda"] = torch.cuda.get_rng_state()
        tensors = {
            "model": persistent(self.family), "ema": self.ema.averages, "optimizer": optimizer, "random": random,
        }  # fmt: skip
        return Contents(tensors, {**unparse(self.counts), "milestone": milestone, "torch": torch.__version__})

    def restore(self, contents: Contents, *, where: Path) -> None:
        """InputError where the checkpoint is of another model, or trains another step, than the recipe."""
        copy_tensors(persistent(self.family), contents.tensors["model"], where=where)
        copy_tensors(self.ema.averages, contents.tensors["ema"], where=where)
        self._restore_optimisers(contents.tensors["optimizer"], where=where)
        random = contents.tensors["random"]
        self.generator.set_state(random["losses"])
        torch.set_rng_state(random["torch"])
        if self.device.type == "cuda" and "cuda" in random:
            torch.cuda.set_rng_state(random["cuda"])
        kept = contents.state
        self.counts = Counts(
            images=kept["images"], seconds=kept.get("seconds", 0.0), iteration=kept["iteration"],
            skipped=kept["skipped"], bad_rows=kept["bad_rows"],
            began=kept.get("began", dict.fromkeys(self._stages, 0)),  # there were no stages before there was this
        )  # fmt: skip

    def _restore_optimisers(self, tensors: Mapping[str, Tensor], *, where: Path) -> None:
        by_step: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for name, tensor in tensors.items():
            step, _, rest = name.partition("/")
            by_step[step][rest] = tensor
        for updater in self.updaters:
            updater.optimisers.load(by_step.pop(updater.step.name, {}))
        if by_step:
            raise InputError(f'{where} trains the step "{next(iter(by_step))}", which this recipe does not')


def chosen_steps(family: Family, recipe: Recipe) -> list[Step]:
    """The family's steps that the recipe names, in the family's order."""
    steps = family.steps()
    known = [step.name for step in steps]
    for key, names in (("steps", recipe.train.steps), ("stages", tuple(recipe.train.stages))):
        for name in names:
            if name not in known:
                raise InputError(f'train.{key}: {recipe.model.family} has no step "{name}"; it has {", ".join(known)}')
    return [step for step in steps if not recipe.train.steps or step.name in recipe.train.steps]


def stages(steps: Sequence[Step], recipe: Recipe) -> dict[str, Stage]:
    """When each of `steps` is trained, by its name; InputError where for a part of the run none is."""
    shares = {step.name: recipe.train.stages.get(step.name, (0.0, 1.0)) for step in steps}
    covered = 0.0
    for start, end in sorted(shares.values()):
        if start > covered:
            break
        covered = max(covered, end)
    if covered < 1.0:
        raise InputError(
            f"train.stages: from {covered:.0%} of the run on there is nothing to train, as its steps are "
            f"{', '.join(shares)}; let one end later, or set train.stages={{}}"
        )
    return {name: Stage(*share) for name, share in shares.items()}


@torch.no_grad()
def own_memory(module: nn.Module) -> None:
    """A loaded model's tensors may lie in a mapped file: not to be written to, and not aligned for fast arithmetic."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.clone()


def persistent(module: nn.Module) -> dict[str, Tensor]:
    """All that `state_dict` holds, each tensor once, under its first name."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor.detach()
    return found


@torch.no_grad()
def copy_tensors(into: Mapping[str, Tensor], found: Mapping[str, Tensor], *, where: Path) -> None:
    """In place; InputError, and nothing copied, unless names and shapes are the same."""
    for name in [*into, *found]:
        if name not in into or name not in found:
            side = "lacks" if name in into else "has"
            raise InputError(f'{where}: the checkpoint {side} "{name}": it is of another model than the recipe\'s')
        if into[name].shape != found[name].shape:
            raise InputError(
                f'{where}: "{name}" is {tuple(found[name].shape)}, the recipe\'s model has {tuple(into[name].shape)}'
            )
    for name, tensor in into.items():
        tensor.copy_(found[name])
