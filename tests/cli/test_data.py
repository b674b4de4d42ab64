"""limner data check and limner data preview as commands."""

from __future__ import annotations

import json
from dataclasses import replace

from typer.testing import CliRunner

from limner import families
from limner.cli.data import app
from limner.core import InputError
from limner.data.people import open_pictures
from tests.folders import captioned, listed


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
    assert content["length"] == "0 longer than 40 tokens"


def test_check_holds_captions_and_sizes_against_the_model(tmp_path, tokenizer):
    tiny = families.find("flow").presets["tiny"]
    config = replace(tiny, text=replace(tiny.text, length=3))
    families.save(tmp_path / "model", families.build("flow", config, tokenizer))
    captioned(tmp_path / "in", count=50)
    words = ("check", tmp_path / "in", "--json")
    assert json.loads(run(*words).stdout)["counts"]["smaller than the model"] > 0
    counts = json.loads(run(*words, "--model", tmp_path / "model").stdout)["counts"]
    assert (counts["cut caption"], counts["smaller than the model"]) == (49, 0)
    assert isinstance(run(*words, "--model", tmp_path / "in").exception, InputError)


def test_preview_writes_a_sheet(tmp_path):
    captioned(tmp_path / "in", count=50)
    result = run("preview", tmp_path / "in", "-o", tmp_path / "sheet.png", "-n", 6, "--size", 32)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert "6 pictures" in result.stdout


def test_what_is_wrong_with_the_path_is_an_input_error(tmp_path):
    for command in ("check", "preview"):
        assert isinstance(run(command, tmp_path / "missing").exception, InputError)


def test_canaries_writes_a_folder_that_can_be_trained_on(tmp_path):
    words = ("canaries", tmp_path / "out", "--pictures", 50, "--each", 1, "--held-out", 5, "--size", 8)
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "50 scenes, 5 held out, 4 canaries: 1 each 0, 1, 10, 100 times" in result.stdout
    assert len(open_pictures(tmp_path / "out", size=8)) == 50 + 111
    assert isinstance(run(*words).exception, InputError)
