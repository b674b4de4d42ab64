"""A report says what it was given, to people and to programs, and no prompt is taken for a mark."""

from __future__ import annotations

import json

from PIL import Image

from limner.evaluate.report import Report, Section, table


def test_all_three_files_and_the_pictures(tmp_path):
    section = Section("Heading", "Words.", ["a", "b"], [["x", "1"]], {"below it": Image.new("RGB", (4, 4), "red")})
    Report("Title", "Lead.", [section], {"numbers": [1.5]}).write(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text()) == {"numbers": [1.5]}
    markdown = (tmp_path / "report.md").read_text()
    assert "# Title\n" in markdown
    assert "| x | 1 |" in markdown
    page = (tmp_path / "report.html").read_text()
    assert "<td>x</td>" in page
    assert '<img src="pictures/00-00.png" alt="below it"' in page
    with Image.open(tmp_path / "pictures" / "00-00.png") as picture:
        assert picture.size == (4, 4)


def test_a_prompt_is_shown_as_it_was_typed(tmp_path):
    nasty = "<script>alert(1)</script> a | b [x](javascript:y) *z*\nnext"
    Report(nasty, "", [Section(nasty, "", ["p"], [[nasty]])], {}).write(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page
    assert "javascript:y" not in page.replace("[x](javascript:y)", "")
    assert "<em>" not in page
    assert page.count("a | b [x](javascript:y) *z* next") == 3


def test_a_table_keeps_its_columns():
    assert table(["a|b", "c"], [["1", "2"]]).splitlines() == ["| a\\|b | c |", "| --- | ---: |", "| 1 | 2 |"]
