"""JSON from elsewhere: an object, or one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from limner.core import InputError
from limner.store.documents import MOST_BYTES, MOST_PIECES, decode, read_json


def test_an_object_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, "ä"]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"a": [1, "ä"]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"), (b"[]", "no JSON object"), (b"\xff", "is not JSON"), (b"{" * 200_000, "is not JSON"),
        (b'{"a":' * 100_000, "nested too deeply"), (b"[" + b"0," * MOST_PIECES + b"0]", "pieces"),
        (b" " * (MOST_BYTES + 1), "is longer than"), (b'{"a":' + b"9" * 5000 + b"}", "is not JSON"),
    ],
    ids=range(8),
)  # fmt: skip
def test_anything_else_is_a_line_that_names_the_file(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_json(tmp_path / "a.json")
    assert str(tmp_path / "a.json") in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json does not exist"):
        read_json(tmp_path / "a.json")


def test_pieces_are_counted_before_they_are_made() -> None:
    assert decode(b"[[], {}, 1]", most=5) == [[], {}, 1]
    with pytest.raises(ValueError, match="5 pieces, more than the 4"):
        decode(b"[[], {}, 1]", most=4)
