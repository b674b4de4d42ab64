"""Putting a training run together: recipe, data, tokenizer, family, loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner import families
from limner.core import Family, InputError, Source, Tokenizer, parse, unparse
from limner.data import open_source
from limner.data.digits import Digits
from limner.data.people import Pictures
from limner.data.scenes import Scenes
from limner.shelf import find_model
from limner.text import load_tokenizer
from limner.text.bpe import BPE
from limner.train import loop, machine
from limner.train.folder import RunFolder
from limner.train.recipe import Recipe, amend
from limner.train.state import copy_tensors, persistent

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was typed."""

    recipe: Path
    data: str | None
    start: str | None  # a trained model
    out: Path
    resume: bool
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A run that is ready; nothing is trained until `train` is iterated over."""

    recipe: Recipe
    folder: RunFolder
    train: Callable[[Callable[[], bool]], Iterator[loop.Progress]]


def resolve(order: Order) -> Recipe:
    """The recipe with what was typed, and every default written out.

    Where there is a trained model, its config stands in for the preset's.
    """
    recipe = Recipe.read(order.recipe, order.changes)
    if order.data is not None:
        mix = recipe.data.mix if order.data == "scenes" else {}  # a mix is for scenes alone
        recipe = replace(recipe, data=replace(recipe.data, source=order.data, mix=mix))
    config = _config(recipe, str(order.recipe))
    if order.start is not None:
        config = amend(_trained(order.start, recipe).config, recipe.model.config, f"{order.recipe}: model.config")
    knobs = amend(families.find(recipe.model.family).Knobs(), recipe.samples.knobs, f"{order.recipe}: samples.knobs")
    return replace(
        recipe,
        model=replace(recipe.model, config=unparse(config)),
        samples=replace(recipe.samples, knobs=unparse(knobs)),
    )


def prepare(order: Order, say: Say) -> Run:
    """Everything up to the first iteration: read, check, build."""
    machine.prepare()
    recipe, folder = resolve(order), RunFolder(order.out)
    folder.check_resumable() if order.resume else folder.check_fresh()
    if order.resume:
        recipe = _resumed(recipe, Recipe.read(order.recipe, order.changes).model.config, folder, say)
    source, validation = sources(recipe)
    if order.start is not None and not order.resume:
        family = _fitted(_trained(order.start, recipe), recipe, order.start)
    else:
        tokenizer = kept_tokenizer(folder) if order.resume else learnt_tokenizer(recipe, source, say)
        family = families.build(recipe.model.family, recipe.model.config, tokenizer)
    count = sum(one.numel() for one in family.parameters())
    precision = machine.precision(recipe.train.precision, machine.device())
    say(f"{recipe.model.family} with {count:,} weights, on {machine.describe(precision)}")

    def train(stop: Callable[[], bool]) -> Iterator[loop.Progress]:
        return loop.fit(
            family, source, validation, recipe, order.out,
            resume=order.resume, calibrate=order.start is None, save=_save, stop=stop,
        )  # fmt: skip

    return Run(recipe, folder, train)


def _config(recipe: Recipe, where: str) -> Any:
    presets = families.find(recipe.model.family).presets
    if recipe.model.preset not in presets:
        known = ", ".join(presets)
        raise InputError(f'{where}: model: preset = "{recipe.model.preset}" is not one of {known}')
    return amend(presets[recipe.model.preset], recipe.model.config, f"{where}: model.config")


def sources(recipe: Recipe) -> tuple[Source, Source]:
    data, size = recipe.data, recipe.model.config["image_size"]
    train = open_source(data.source, size=size, split="train", seed=data.seed, mix=data.mix or None)
    return train, open_source(data.source, size=size, split="validation", seed=data.seed, mix=data.mix or None)


def _save(folder: Path, family: Family) -> None:
    families.save(folder, family)


def _trained(model: str, recipe: Recipe) -> Family:
    family = families.load(find_model(model))
    if not isinstance(family, families.find(recipe.model.family)):
        raise InputError(
            f'--from {model} is a {type(family).__name__}, but the recipe trains family = "{recipe.model.family}"; '
            "take a recipe of the model's family"
        )
    return family


def _fitted(family: Family, recipe: Recipe, where: str) -> Family:
    """The trained family under the recipe's config: what changes no weight's shape may be changed."""
    if unparse(family.config) == recipe.model.config:
        return family
    fresh = families.build(recipe.model.family, recipe.model.config, family.tokenizer)
    try:
        copy_tensors(persistent(fresh), persistent(family), where=find_model(where))
    except InputError as error:
        raise InputError(f"{error}; leave out of model.config what changes the shape of a weight") from None
    return fresh


def kept_tokenizer(folder: RunFolder) -> Tokenizer:
    try:
        return load_tokenizer(folder.tokenizer.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder.tokenizer} is missing: without it the run cannot be resumed") from None


def learnt_tokenizer(recipe: Recipe, source: Source, say: Say) -> Tokenizer:
    say(f"Learning at most {recipe.text.vocabulary:,} tokens from the captions")
    return BPE.train(_captions(source, recipe.text.captions), recipe.text.vocabulary)


def _captions(source: Source, most: int) -> Iterator[str]:
    """Without making the pictures: what we make ourselves has its caption in its truth, a folder lists them."""
    if isinstance(source, Scenes | Digits):
        return (source.truth(index).caption for index in range(most))
    assert isinstance(source, Pictures)
    return itertools.islice(source.captions(), most)


def _resumed(recipe: Recipe, changes: Mapping[str, Any], folder: RunFolder, say: Say) -> Recipe:
    """A resumed run keeps its model but for `changes` to the config; for the rest it goes by what is asked for now, and
    says what is new."""
    before = Recipe.read(folder.recipe)
    if before.model.family != recipe.model.family:
        raise InputError(f'{folder.path} holds a run of family "{before.model.family}", not "{recipe.model.family}"')
    kind = families.find(recipe.model.family)
    config = amend(parse(kind.Config, before.model.config, f"{folder.recipe}: model.config"), changes, "model.config")
    recipe = replace(recipe, model=replace(before.model, config=unparse(config)))
    for key, (old, new) in changes_of(before, recipe).items():
        say(f"From here on {key} = {new!r}; until now it was {old!r}")
    return recipe


def changes_of(before: Recipe, after: Recipe) -> dict[str, tuple[Any, Any]]:
    """What differs between two recipes, by its name: as it was, and as it is."""
    old, new = _flat(unparse(before)), _flat(unparse(after))
    return {
        key: (old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)
    }


def _flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return flat
