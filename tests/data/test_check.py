"""Every fault that a folder can have is reported, with its place, and nothing is changed."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence

import pytest
import torch
from PIL import Image
from rich.console import Console

from limner.core import InputError, Tokenizer
from limner.data.people.check import check
from limner.data.people.report import KINDS, Report, table
from tests.folders import captioned, encoded, listed, picture, shard


class Words:
    """A tokenizer of words, with one token before each text."""

    size = 2

    def encode(self, texts: Sequence[str], length: int) -> tuple[torch.Tensor, torch.Tensor]:
        counts = [min(length, 1 + len(text.split())) for text in texts]
        mask = torch.arange(max(counts))[None] < torch.tensor(counts)[:, None]
        return mask.long(), mask

    def to_json(self) -> str:
        return "{}"


def places(report: Report, kind: str) -> list[tuple[str, ...]]:
    return [one.places for one in report.findings if one.kind == kind]


def kinds(report: Report) -> set[str]:
    return {one.kind for one in report.findings}


def snapshot(root):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


def test_the_folder_with_one_of_each(tmp_path):
    faults = captioned(tmp_path)
    before = snapshot(tmp_path)
    seen = []
    report = check(tmp_path, size=32, watch=lambda done, total: seen.append((done, total)))
    assert kinds(report) == {"truncated", "empty caption", "equal files"}
    assert places(report, "truncated") == [(faults.broken,)]
    assert places(report, "empty caption") == [(faults.empty,)]
    assert places(report, "equal files") == [(faults.original, faults.copy)]
    assert (report.pictures, report.readable, report.captions, report.exit_code) == (200, 199, 199, 1)
    assert report.held_out
    assert report.splits == {"train": 190, "validation": 10}
    assert report.shape is not None
    assert report.shape.width.high == 48, "the rotated picture is counted upright"
    assert report.shape.cropped.median == 0.25
    assert seen == [(200, 200)]
    assert snapshot(tmp_path) == before


def test_a_clean_folder_is_clean(tmp_path):
    listed(tmp_path, [{"file_name": f"{one:04}.png", "text": f"number {one}"} for one in range(20)], count=20)
    report = check(tmp_path, size=32)
    assert report.findings == ()
    assert report.exit_code == 0
    assert "no tokenizer given" in report.length


def test_bad_rows_missing_files_and_captions_are_named(tmp_path):
    rows = [{"file_name": "0000.png", "text": "a"}, {"file_name": "0001.png"}, {"file_name": "gone.png", "text": "b"}]
    listed(tmp_path, rows, count=4)
    with (tmp_path / "metadata.jsonl").open("a") as file:
        file.write("{\n")
    (tmp_path / "0000.png").write_bytes(b"<html>")
    report = check(tmp_path, size=32)
    assert places(report, "malformed")[0] == ("metadata.jsonl line 4",)
    assert places(report, "missing caption") == [("0001.png",)]
    assert places(report, "unreadable") == [("0000.png",), ("gone.png",)]
    assert places(report, "not used") == [("0002.png",), ("0003.png",)]


def test_captions_that_would_be_cut(tmp_path):
    rows = [{"file_name": "0000.png", "text": ["one two three", "one two three four"]}]
    rows += [{"file_name": "0001.png", "text": "short"}]
    listed(tmp_path, rows, count=2)
    words: Tokenizer = Words()
    report = check(tmp_path, size=32, tokenizer=words, length=4)
    assert places(report, "cut caption") == [("metadata.jsonl line 1",)]
    assert report.length == "1 longer than 4 tokens"
    assert check(tmp_path, size=32, tokenizer=words, length=5).exit_code == 0
    assert check(tmp_path, size=32, tokenizer=words, length=2).length == "2 longer than 2 tokens"


def test_our_own_bpe_cuts_where_the_check_says(tmp_path):
    bpe = pytest.importorskip("limner.text.bpe").BPE.train(["a red circle"] * 3, 300)
    text = "a red circle and something else"
    listed(tmp_path, [{"file_name": f"{one:04}.png", "text": text} for one in range(2)], count=2)
    needed = bpe.count(text)
    assert check(tmp_path, size=32, tokenizer=bpe, length=needed).exit_code == 0
    assert len(places(check(tmp_path, size=32, tokenizer=bpe, length=needed - 1), "cut caption")) == 2


def test_copies_and_leakage_between_the_folder_s_splits(tmp_path):
    for split, numbers in (("train", range(8)), ("validation", range(8, 11))):
        (tmp_path / split).mkdir()
        for number in numbers:
            image = picture(number, width=96, height=96)[0]
            (tmp_path / split / f"{number}.png").write_bytes(encoded(image))
            (tmp_path / split / f"{number}.txt").write_text(f"number {number}")
    shutil.copy(tmp_path / "train/0.png", tmp_path / "train/0b.png")
    shutil.copy(tmp_path / "train/1.png", tmp_path / "validation/1b.png")
    image = Image.open(tmp_path / "train/2.png")
    (tmp_path / "train/2b.bmp").write_bytes(encoded(image, "BMP"))
    (tmp_path / "validation/3b.jpg").write_bytes(encoded(Image.open(tmp_path / "train/3.png"), "JPEG", quality=60))
    for name in ("train/0b", "validation/1b", "train/2b", "validation/3b"):
        (tmp_path / f"{name}.txt").write_text("a copy")
    report = check(tmp_path, size=32)
    assert not report.held_out
    assert places(report, "equal files") == [("train/0.png", "train/0b.png"), ("train/1.png", "validation/1b.png")]
    assert places(report, "equal pixels") == [("train/2.png", "train/2b.bmp")]
    assert places(report, "near duplicates") == [("train/3.png", "validation/3b.jpg")]
    assert places(report, "leakage") == [
        ("train/1.png (train)", "validation/1b.png (validation)"),
        ("train/3.png (train)", "validation/3b.jpg (validation)"),
    ]


def test_sizes_and_what_is_lost(tmp_path):
    sizes = [(100, 100), (50, 50), (300, 100)]
    for number, (width, height) in enumerate(sizes):
        (tmp_path / f"{number}.png").write_bytes(encoded(picture(number, width=width, height=height)[0]))
        (tmp_path / f"{number}.txt").write_text("x")
    report = check(tmp_path, size=100)
    assert report.shape is not None
    assert (report.shape.width.low, report.shape.width.median, report.shape.width.high) == (50, 100, 300)
    assert (report.shape.aspect.low, report.shape.aspect.high) == (1, 3)
    assert report.shape.cropped.high == pytest.approx(2 / 3)
    assert report.shape.enlarged == 1
    assert places(report, "smaller than the model") == [("1.png",)]
    assert places(report, "more than half cropped away") == [("2.png",)]
    assert report.exit_code == 0


def test_a_folder_that_cannot_be_split_says_so(tmp_path):
    listed(tmp_path, [{"file_name": "0000.png", "text": "x"}], count=1)
    report = check(tmp_path, size=32)
    assert "two different ones" in report.findings[0].message
    assert report.exit_code == 1


def test_nothing_usable(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        (tmp_path / f"{number}.txt").write_text("x")
    report = check(tmp_path, size=32)
    assert report.exit_code == 2
    assert report.shape is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="looked for"):
        check(tmp_path / "empty", size=32)


def test_tars_are_checked_in_place(tmp_path):
    data = encoded(picture(0)[0])
    members = [("0.png", data), ("0.txt", b"x"), ("1.png", data[:50]), ("2.png", encoded(picture(2)[0]))]
    report = check(shard(tmp_path / "00000.tar", members), size=32)
    assert places(report, "truncated") == [("00000.tar: 1.png",)]
    assert places(report, "missing caption") == [("00000.tar: 1.png",), ("00000.tar: 2.png",)]


def test_the_table_shows_the_first_and_the_json_shows_all(tmp_path):
    for number in range(9):
        (tmp_path / f"[red]{number}.png").write_bytes(encoded(picture(number)[0]))
        (tmp_path / f"[red]{number}.txt").write_text("" if number else "x")
    report = check(tmp_path, size=32)
    file = io.StringIO()
    Console(file=file, width=120).print(table(report))
    shown = file.getvalue()
    assert "[red]1.png" in shown
    assert "[red]8.png" not in shown
    assert "and 3 more: --json lists them all" in shown
    content = json.loads(json.dumps(report.to_json()))
    assert content["counts"]["empty caption"] == 8
    assert set(content["counts"]) == set(KINDS)
    assert content["findings"][7]["places"] == ["[red]8.png"]
    assert content["exit_code"] == 1
