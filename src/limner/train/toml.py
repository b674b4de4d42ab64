"""Plain dicts to TOML text; the standard library only reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def dumps(values: Mapping[str, Any]) -> str:
    """TOML of nested mappings, lists, strings, numbers and booleans. None, which TOML lacks, is left out."""
    return "\n".join(_table(values, ())).strip() + "\n"


def _table(values: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    lines = _pairs(plain)
    if path and lines:
        lines = ["", f"[{'.'.join(map(_key, path))}]", *lines]
    for key, value in values.items():
        if isinstance(value, Mapping):
            lines += _table(value, (*path, key))
    return lines


def _pairs(plain: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in plain.items() if value is not None]


def _key(text: str) -> str:
    bare = text and all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in text)
    return text if bare else _string(text)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):  # in a list, where it has no heading of its own
        return f"{{ {', '.join(_pairs(value))} }}"
    assert isinstance(value, int | float), f"TOML has no {type(value).__name__}"
    return repr(value)


def _string(text: str) -> str:
    """JSON's escapes are TOML's, but for the delete character, which TOML wants escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
