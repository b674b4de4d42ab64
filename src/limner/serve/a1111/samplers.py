"""Samplers and schedulers by A1111's names, for whatever solvers a model has."""

from __future__ import annotations

import typing

from limner.process.solvers import ALIASES, SOLVERS
from limner.serve.catalogue import Model
from limner.serve.problems import invalid

AUTOMATIC = (None, "", "automatic", "Automatic")
LABELS = {
    "ddim": "DDIM", "ddpm": "DDPM", "dpmpp_2m": "DPM++ 2M", "dpm++2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_sde": "DPM++ SDE", "euler": "Euler", "euler_ancestral": "Euler a", "heun": "Heun", "lcm": "LCM",
    "lms": "LMS", "pndm": "PLMS", "unipc": "UniPC",
}  # fmt: skip
SPACINGS = {"karras": "Karras", "exponential": "Exponential", "leading": "Leading", "linspace": "Linspace",
            "trailing": "Trailing"}  # fmt: skip


def samplers(model: Model) -> list[str]:
    """The model's solvers, as A1111 calls them."""
    return [LABELS[solver] for solver in _solvers(model)]


def solver(model: Model, name: str) -> str:
    """The knob's value; Problem where the model has no such sampler."""
    known = {LABELS[one].casefold(): one for one in _solvers(model)} | {one: one for one in _solvers(model)}
    if name.casefold() in known:
        return known[name.casefold()]
    if model.has("spacing") and name.casefold() in {alias.casefold() for alias in ALIASES}:
        return name  # which also says the spacing
    there = ", ".join(samplers(model)) or "none"
    raise invalid(f'{model.name} has no sampler "{name}"; there are: {there}', param="sampler_name")


def spacing(model: Model, name: str) -> str:
    """The same of a scheduler."""
    known = {label.casefold(): one for one, label in SPACINGS.items()} if model.has("spacing") else {}
    if name.casefold() not in known:
        there = ", ".join(["Automatic", *(SPACINGS[one] for one in known.values())])
        raise invalid(f'{model.name} has no scheduler "{name}"; there are: {there}', param="scheduler")
    return known[name.casefold()]


def _solvers(model: Model) -> list[str]:
    if not model.has("solver"):
        return []
    hint = typing.get_type_hints(model.knobs)["solver"]
    return list(typing.get_args(hint)) or list(SOLVERS)
