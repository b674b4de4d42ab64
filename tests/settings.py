"""What tests ask of frozen settings: which fields somebody reads, and what else they could say."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from limner.core import InputError


def watched(settings: Any, read: set[str], prefix: str = "") -> Any:
    """The same settings, in a class that notes in `read` each field that somebody reads."""
    names = {one.name for one in dataclasses.fields(settings)}

    class Watched(type(settings)):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            if name in names:
                read.add(prefix + name)
            return super().__getattribute__(name)

    values = {name: getattr(settings, name) for name in names}
    inner = {
        name: watched(one, read, f"{prefix}{name}.") for name, one in values.items() if dataclasses.is_dataclass(one)
    }
    return Watched(**{**values, **inner})


def leaves(settings: Any, prefix: str = "") -> set[str]:
    found = set()
    for one in dataclasses.fields(settings):
        value = getattr(settings, one.name)
        found.add(prefix + one.name)
        if dataclasses.is_dataclass(value):
            found |= leaves(value, f"{prefix}{one.name}.")
    return found


def varied(usual: Any) -> list[Any]:
    """The settings with one field set otherwise, for each that can be."""
    hints, found = get_type_hints(type(usual)), []
    for one in dataclasses.fields(usual):
        value = getattr(usual, one.name)
        values: Sequence[Any] = []
        if get_origin(hints[one.name]) is Literal:
            values = [choice for choice in get_args(hints[one.name]) if choice != value]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            values = [value + 1, value / 2] if isinstance(value, float) else [value + 1]
        for changed in values:
            with contextlib.suppress(InputError):
                found.append(dataclasses.replace(usual, **{one.name: changed}))
    return found
