"""A recipe: what to train, on what, for how long. TOML on disk, frozen dataclasses in here, read strictly."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from limner.core import InputError, check, parse, unparse
from limner.train import toml


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    family: str
    preset: str = "base"
    config: dict[str, Any] = field(default_factory=dict)  # what differs from the preset


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    vocabulary: int = 8192
    captions: int = 200_000  # read to learn the vocabulary

    def __post_init__(self) -> None:
        check(self.captions > 0, f"captions = {self.captions} must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    source: str = "scenes"  # or "digits", or a path
    seed: int = 0
    mix: dict[str, float] = field(default_factory=dict)  # shares of the kinds of scenes


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """All counts but `batch`, `accumulate`, `keep` and `stop_after_bad` are images; `checkpoint_every` is seconds."""

    steps: tuple[str, ...] = ()  # of the family's; empty: all
    images: int = 1_000_000
    batch: int = 128
    accumulate: int = 1  # batches to one update
    seed: int = 0
    clip: float = 1.0  # of the gradient's norm; 0: never
    ema: float = 50_000.0  # half-life of the averaged weights
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: Literal["auto", "on", "off"] = "auto"
    validate_every: int = 100_000
    validation_images: int = 1024
    checkpoint_every: float = 300.0
    keep: int = 2  # newest checkpoints
    milestone_every: int | None = None  # checkpoints that are never deleted
    samples_every: int = 100_000
    stop_after_bad: int = 20  # updates in a row that are not finite

    def __post_init__(self) -> None:
        for name in ("images", "batch", "accumulate", "validate_every", "validation_images", "keep", "samples_every",
                     "stop_after_bad"):  # fmt: skip
            check(getattr(self, name) > 0, f"{name} = {getattr(self, name)} must be above 0")
        check(self.milestone_every is None or self.milestone_every > 0, "milestone_every must be above 0, or absent")
        check(self.clip >= 0.0, f"clip = {self.clip} must be above 0, or 0 for no clipping")
        check(self.checkpoint_every >= 0.0, f"checkpoint_every = {self.checkpoint_every} is not a number of seconds")
        check(
            self.ema == 0.0 or self.ema >= 1.0,
            f"ema = {self.ema} is a half-life in images (50000, say), or 0 to average nothing",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """`lr` is AdamW's; with "muon" the hidden matrices go by `muon_lr` instead."""

    name: Literal["muon", "adamw"] = "muon"
    lr: float = 1e-3
    muon_lr: float = 0.02
    momentum: float = 0.95  # Muon's
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0  # decoupled
    warmup: int = 10_000  # images
    decay: float = 0.4  # share of the run, at its end, in which the rate falls
    floor: float = 0.02  # the share of the rate to which it falls

    def __post_init__(self) -> None:
        for name in ("lr", "muon_lr", "eps", "weight_decay", "warmup"):
            check(getattr(self, name) >= 0, f"{name} = {getattr(self, name)} must not be negative")
        for name, value in (("momentum", self.momentum), ("betas", self.betas[0]), ("betas", self.betas[1])):
            check(0.0 <= value < 1.0, f"{name} holds {value}, which is not from 0 up to 1")
        for name in ("decay", "floor"):
            check(0.0 <= getattr(self, name) <= 1.0, f"{name} = {getattr(self, name)} is not a share from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    prompts: tuple[str, ...] = ()  # drawn at intervals, always with the same seeds
    seed: int = 0
    knobs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    model: Model
    text: Text = field(default_factory=Text)
    data: Data = field(default_factory=Data)
    train: Train = field(default_factory=Train)
    optimizer: Optimizer = field(default_factory=Optimizer)
    samples: Samples = field(default_factory=Samples)

    @staticmethod
    def read(path: Path, overrides: Sequence[str] = ()) -> Recipe:
        """The recipe at `path` with "table.key=value" strings applied; an InputError names file, table and key."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path}: there is no such recipe") from None
        except (IsADirectoryError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise InputError(f"{path}: this is not a TOML file: {error}") from None
        for one in overrides:
            _override(values, one)
        return Recipe.parse(values, str(path))

    @staticmethod
    def parse(values: dict[str, Any], where: str) -> Recipe:
        config = _taken(values, "model", "config", where)
        knobs = _taken(values, "samples", "knobs", where)
        recipe = parse(Recipe, values, where)
        return replace(recipe, model=replace(recipe.model, config=config), samples=replace(recipe.samples, knobs=knobs))

    def to_toml(self) -> str:
        return toml.dumps(unparse(self))


def amend(preset: Any, changes: Mapping[str, Any], where: str) -> Any:
    """A copy of the dataclass `preset` in which `changes`, nested as it is, have been made, strictly."""
    return parse(type(preset), _merged(unparse(preset), changes), where)


def _merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        both = isinstance(change, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], change) if both else change
    return merged


def _taken(values: dict[str, Any], table: str, key: str, where: str) -> dict[str, Any]:
    """Take out a table whose keys only the family knows."""
    holder = values.get(table)
    if not isinstance(holder, dict) or key not in holder:
        return {}
    values[table] = {name: one for name, one in holder.items() if name != key}
    if not isinstance(holder[key], dict):
        raise InputError(f"{where}: {table}: {key} = {holder[key]!r} is not a table; write [{table}.{key}]")
    return dict(holder[key])


def _override(values: dict[str, Any], text: str) -> None:
    path, equals, value = text.partition("=")
    *tables, key = path.strip().split(".")
    if not equals or not tables or not all((*tables, key)):
        raise InputError(f"--set {text!r} is not of the form table.key=value; write --set train.batch=64, say")
    holder = values
    for table in tables:
        holder = holder.setdefault(table, {})
        if not isinstance(holder, dict):
            raise InputError(f'--set {text!r}: "{table}" is not a table')
    holder[key] = _value(value.strip())


def _value(text: str) -> Any:
    """A TOML value; what is none, as a bare word, is a string."""
    try:
        found = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return found["value"] if list(found) == ["value"] else text
