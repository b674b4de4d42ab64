"""The contact sheet shows the pictures as the model sees them, and any caption without failing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from limner.core import InputError
from limner.data.people import preview as module
from limner.data.people.pictures import fit
from limner.data.people.preview import GAP, LEAST, LINES, preview, sheet, wrapped
from tests.folders import captioned, listed, picture

SCRIPTS = (
    "стоп-знак в синем небе", "علامة توقف في السماء", "नीले आकाश में", "青い空に浮かぶ標識",
    "파란 하늘", "蓝天上的停车标志",
    "🛑 in 🟦 \u200d\ufe0f", "\x00\x07\u202e control", "a\nb\tc", "\U0010fffe\ud7ff", "",
)  # fmt: skip


def test_a_sheet_of_the_folder_with_every_fault(tmp_path):
    captioned(tmp_path / "in", count=60)
    before = sorted(path.name for path in (tmp_path / "in").iterdir())
    assert preview(tmp_path / "in", tmp_path / "sheet.png", size=48, count=59) == 59
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.mode == "RGB"
        assert min(image.size) > 500
    assert preview(tmp_path / "in", tmp_path / "sheet.jpg", size=48, count=60) == 59, "one is broken"
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "sheet.jpg", "sheet.png"]


def test_a_tile_is_what_the_model_sees(tmp_path):
    image = fit(picture(1, width=90, height=60)[0], 32)
    page = np.asarray(sheet([(image, "caption")], 32))
    times = LEAST // 32  # small pictures are enlarged, pixel by pixel
    tile = page[GAP : GAP + LEAST, GAP : GAP + LEAST]
    assert np.array_equal(tile, np.asarray(image).repeat(times, axis=0).repeat(times, axis=1))
    below = page[GAP + LEAST :]
    assert below.min() < 100, "the caption is written under it"


@pytest.mark.parametrize("folders", [module.FOLDERS, ()])
def test_any_script_is_drawn_or_boxed(monkeypatch, folders):
    monkeypatch.setattr(module, "FOLDERS", folders)
    for cached in (module._fonts, module._font_for):
        cached.cache_clear()
    tile = Image.new("RGB", (32, 32))
    page = sheet([(tile, text) for text in SCRIPTS], 32)
    assert page.width > 3 * LEAST
    for cached in (module._fonts, module._font_for):
        cached.cache_clear()


def test_a_sheet_has_as_many_columns_as_it_is_told():
    tiles = [(Image.new("RGB", (32, 32)), "caption")] * 7
    wide = [sheet(tiles, 32, columns=columns).width for columns in (1, 2, 6)]
    assert wide == [GAP + columns * (LEAST + GAP) for columns in (1, 2, 6)]


def test_lines_fit_and_keep_the_words():
    text = "a small yellow star in the top left corner of a picture with a very long caption " * 4
    lines = wrapped(text, 150)
    assert len(lines) == LINES
    assert lines[-1].endswith("…")
    assert all(module._length(line) <= 150 for line in lines)
    assert wrapped("two words", 150) == ["two words"]
    assert "".join(wrapped("x" * 40, 100)) == "x" * 40
    assert len(wrapped("青" * 100_000, 200)) == LINES
    assert wrapped("青" * 12, 5), "a width below that of one letter ends, too"


def test_bad_requests_say_what_to_do(tmp_path):
    listed(tmp_path / "in", [{"file_name": "0000.png", "text": "x"}], count=1)
    for output, count, reason in (
        ("sheet.gif", 1, "is written as .png"),
        ("sheet", 1, "is written as .png"),
        ("sheet.png", 0, "ask for 1 to"),
        ("sheet.png", 401, "ask for 1 to"),
        ("no/such/sheet.png", 1, "cannot be written"),
    ):
        with pytest.raises(InputError, match=reason):
            preview(tmp_path / "in", tmp_path / output, size=32, count=count)
    (tmp_path / "in/0000.png").write_bytes(b"")
    with pytest.raises(InputError, match="too large; ask for fewer"):
        preview(tmp_path / "in", tmp_path / "sheet.png", size=4096, count=24)
    with pytest.raises(InputError, match="no picture can be read; run: limner data check"):
        preview(tmp_path / "in", tmp_path / "sheet.png", size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
