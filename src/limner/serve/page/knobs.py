"""A field of the page for each knob of a model."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from limner.core import check
from limner.serve.catalogue import Model

OWN = ("strength",)  # which has a field of its own, beside the image
FIRST = ("steps", "guidance", "solver")


@dataclasses.dataclass(frozen=True)
class Fields:
    """Fields by the names of their knobs."""

    model: Model
    components: Mapping[str, Any]

    def values(self, given: Sequence[Any]) -> dict[str, Any]:
        """The knobs that differ from their defaults; InputError where one is missing."""
        defaults, found = self.model.defaults, {}
        for name, value in zip(self.components, given, strict=True):
            value = read(self.kind(name), value, name)
            if value != defaults[name]:
                found[name] = value
        return found

    def kind(self, name: str) -> Any:
        return typing.get_type_hints(self.model.knobs)[name]


def fields(model: Model) -> Fields:
    """Made where they are called."""
    return Fields(model, {name: _field(model, name) for name in names(model)})


def names(model: Model) -> list[str]:
    """Of the knobs that have a field, those that everybody turns first."""
    return sorted((name for name in model.defaults if name not in OWN), key=lambda name: name not in FIRST)


def read(kind: Any, value: Any, name: str) -> Any:
    """What a field holds as its knob reads it."""
    optional = isinstance(kind, types.UnionType) and type(None) in typing.get_args(kind)
    if value is None or value == "":
        check(optional or kind is str, f"{name} is empty: give it a value")
        return None if optional else ""
    if kind is int:
        check(float(value).is_integer(), f"{name} = {value} is no whole number")
        return int(value)
    return value


def choices(kind: Any) -> list[Any]:
    return list(typing.get_args(kind)) if typing.get_origin(kind) is typing.Literal else []


def _field(model: Model, name: str) -> Any:
    kind, value = typing.get_type_hints(model.knobs)[name], model.defaults[name]
    label = name.replace("_", " ").capitalize()
    if options := choices(kind):
        return gr.Dropdown(options, value=value, label=label, min_width=120)
    if kind is bool:
        return gr.Checkbox(value, label=label, min_width=120)
    if kind is str:
        return gr.Textbox(value, label=label, max_lines=1, min_width=120)
    return gr.Number(
        value, label=label, precision=0 if kind is int else None, step=1 if kind is int else 0.1, min_width=120
    )
