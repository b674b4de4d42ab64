"""limner data check and limner data preview as commands."""

from __future__ import annotations

import json

from tests.folders import captioned, listed
from typer.testing import CliRunner

from limner.cli.data import app
from limner.core import InputError


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_check_prints_a_table_and_its_exit_code_says_how_it_went(tmp_path):
    captioned(tmp_path / "faulty", count=50)
    result = run("check", tmp_path / "faulty", "--size", 32)
    assert result.exit_code == 1
    for word in ("truncated", "0010.png", "empty caption", "0040.png", "equal files", "0020.png = 0021.png"):
        assert word in result.stdout
    rows = [{"file_name": f"{one:04}.png", "text": "x"} for one in range(3)]
    assert run("check", listed(tmp_path / "clean", rows, count=3), "--size", 32).exit_code == 0
    for number in range(3):
        (tmp_path / f"clean/{number:04}.png").write_bytes(b"")
    assert run("check", tmp_path / "clean").exit_code == 2


def test_check_as_json_is_nothing_but_json(tmp_path):
    captioned(tmp_path, count=50)
    content = json.loads(run("check", tmp_path, "--json", "--size", 32).stdout)
    assert content["counts"]["truncated"] == 1
    assert content["length"] == "not checked for length: no tokenizer given"


def test_check_counts_with_a_tokenizer(tmp_path):
    from limner.text.bpe import BPE

    captioned(tmp_path / "in", count=50)
    (tmp_path / "tokenizer.json").write_text(BPE.train(["a red circle"], 300).to_json())
    words = ("check", tmp_path / "in", "--json", "--size", 32, "--tokenizer", tmp_path / "tokenizer.json")
    assert json.loads(run(*words, "--length", 500).stdout)["counts"]["cut caption"] == 0
    assert json.loads(run(*words, "--length", 5).stdout)["counts"]["cut caption"] == 49
    (tmp_path / "tokenizer.json").write_bytes(b"\x80\x04pickle")
    assert isinstance(run(*words).exception, InputError)


def test_preview_writes_a_sheet(tmp_path):
    captioned(tmp_path / "in", count=50)
    result = run("preview", tmp_path / "in", "-o", tmp_path / "sheet.png", "-n", 6, "--size", 32)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert "6 pictures" in result.stdout


def test_what_is_wrong_with_the_path_is_an_input_error(tmp_path):
    for command in ("check", "preview"):
        assert isinstance(run(command, tmp_path / "missing").exception, InputError)
