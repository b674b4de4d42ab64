"""The folders of GenEval's and DPG-Bench's scorers, read back as those scorers read them."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from limner.core import InputError
from limner.data.people import open_pictures
from limner.evaluate.suites.layouts import lay_out, read, unfinished
from limner.pipeline import Pipeline
from limner.provenance import read_picture_settings
from tests.painter import painter

__all__ = ["painter"]

SIDE = 8  # of the painter's pictures
PROMPTS = ["a photo of a bench", "a photo of two clocks, é", "a photo of a red dog"]


@pytest.fixture
def pipeline(painter):
    return Pipeline(painter, name="painter")


def pixels(pipeline, prompt, seed):
    return np.asarray(pipeline(prompt, seed=seed).images[0]).astype(int)


def geneval(path):
    rows = [{"tag": "counting", "include": [{"class": "bench", "count": 1}], "prompt": prompt} for prompt in PROMPTS]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path, rows


def test_geneval_as_its_scorer_walks_the_folder(pipeline, tmp_path):
    file, rows = geneval(tmp_path / "evaluation_metadata.jsonl")
    told = []
    drawn = lay_out(pipeline, file, tmp_path / "out", seed=5, watch=lambda *one: told.append(one))
    assert (drawn, told[-1]) == (12, (12, 12))
    folders = sorted(os.listdir(tmp_path / "out"))
    assert folders == ["00000", "00001", "00002"]
    for place, name in enumerate(folders):
        assert name.isdigit()
        inner = tmp_path / "out" / name
        assert json.loads((inner / "metadata.jsonl").read_text(encoding="utf-8")) == rows[place]
        assert (inner / "metadata.jsonl").read_text(encoding="utf-8") == file.read_text().splitlines(True)[place]
        samples = sorted(os.listdir(inner / "samples"))
        assert samples == ["0000.png", "0001.png", "0002.png", "0003.png"]
        assert all(re.match(r"\d+\.png", sample) for sample in samples)
        for number, sample in enumerate(samples):
            with Image.open(inner / "samples" / sample) as image:
                expected = pixels(pipeline, PROMPTS[place], 5 + 4 * place + number)
                assert np.abs(np.asarray(image.convert("RGB")) - expected).max() <= 2
            assert read_picture_settings(inner / "samples" / sample).prompt == PROMPTS[place]
        with Image.open(inner / "grid.png") as page:
            assert page.size == (2 * SIDE, 2 * SIDE)


def test_dpg_bench_as_its_scorer_cuts_the_grids(pipeline, tmp_path):
    (tmp_path / "prompts").mkdir()
    names = ["2", "10", "COCOval2014000000000042"]
    for name, prompt in zip(names, PROMPTS):
        (tmp_path / f"prompts/{name}.txt").write_text(f"{prompt}\n", encoding="utf-8")
    lay_out(pipeline, tmp_path / "prompts", tmp_path / "out", seed=0)
    assert sorted(os.listdir(tmp_path / "out")) == sorted(f"{name}.png" for name in names)
    corners = [(0, 0), (SIDE, 0), (0, SIDE), (SIDE, SIDE)]  # the scorer's, with --resolution SIDE
    for place, name in enumerate(names):
        with Image.open(tmp_path / f"out/{name}.png") as page:
            assert page.size == (2 * SIDE, 2 * SIDE)
            for number, (left, top) in enumerate(corners):
                cut = np.asarray(page.convert("RGB").crop((left, top, left + SIDE, top + SIDE)))
                assert np.abs(cut - pixels(pipeline, PROMPTS[place], 4 * place + number)).max() <= 2


def test_a_plain_file_gives_a_folder_of_captioned_pictures(pipeline, tmp_path):
    (tmp_path / "prompts.txt").write_text("\ufeff" + "\r\n".join(PROMPTS), encoding="utf-8")
    assert lay_out(pipeline, tmp_path / "prompts.txt", tmp_path / "out", copies=2, seed=3) == 6
    rows = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["file_name"], row["text"], row["seed"]) for row in rows] == [
        (f"{place:05}-{copy}.png", prompt, 3 + 2 * place + copy)
        for place, prompt in enumerate(PROMPTS)
        for copy in range(2)
    ]
    found = [item.captions[0].text for item in open_pictures(tmp_path / "out", size=SIDE).items]
    assert set(found) <= set(PROMPTS)
    assert found


def test_one_who_was_stopped_draws_only_what_is_missing(pipeline, tmp_path):
    file, _ = geneval(tmp_path / "evaluation_metadata.jsonl")

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lay_out(pipeline, file, tmp_path / "out", watch=stop)
    assert not (tmp_path / "out").exists()
    held = len(list(unfinished(tmp_path / "out").iterdir()))
    assert held >= 4
    with pytest.raises(InputError, match=r"was drawn with seed = 0, not 9; choose another --out"):
        lay_out(pipeline, file, tmp_path / "out", seed=9)
    pipeline.family.together.clear()
    assert lay_out(pipeline, file, tmp_path / "out") == 12
    assert sum(pipeline.family.together) == 3 * (12 - held)
    assert sorted(os.listdir(tmp_path)) == ["evaluation_metadata.jsonl", "out"]
    assert len(list((tmp_path / "out").glob("*/samples/*.png"))) == 12


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("prompts.txt", "a cat\n\na dog\n", r"prompts.txt line 2 is empty; write a prompt there, or remove the line"),
        ("prompts.txt", "a cat\n  \n", r"prompts.txt line 2 is empty"),
        ("prompts.txt", "\n", r"prompts.txt line 1 is empty"),
        ("prompts.txt", "", r"prompts.txt is empty; write a prompt a line"),
        ("meta.jsonl", '{"prompt": "a"}\n\n', r"meta.jsonl line 2 is empty"),
        ("meta.jsonl", '{"prompt": "a"}\n{"text": "b"}\n', r'meta.jsonl line 2 has no "prompt"'),
        ("meta.jsonl", '{"prompt": " "}\n', r'meta.jsonl line 1 has no "prompt"'),
        ("meta.jsonl", "[1]\n", r'meta.jsonl line 1 has no "prompt"'),
        ("meta.jsonl", "a cat\n", r"meta.jsonl line 1 is not JSON"),
    ],
)
def test_a_bad_prompt_file_is_an_input_error_with_its_line(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_else_may_be_wrong_is_said_before_anything_is_drawn(pipeline, tmp_path):
    with pytest.raises(InputError, match=r"missing.txt cannot be read: No such file"):
        read(tmp_path / "missing.txt")
    (tmp_path / "binary.txt").write_bytes(b"a cat\xff\n")
    with pytest.raises(InputError, match="is not UTF-8 at byte 5"):
        read(tmp_path / "binary.txt")
    (tmp_path / "prompts").mkdir()
    with pytest.raises(InputError, match=r"holds no NAME.txt"):
        read(tmp_path / "prompts")
    (tmp_path / "prompts/1.txt").write_text(" \n")
    with pytest.raises(InputError, match=r"1.txt line 1 is empty"):
        read(tmp_path / "prompts")
    (tmp_path / "prompts/1.txt").write_text("a cat")
    with pytest.raises(InputError, match="grids are of 4"):
        lay_out(pipeline, tmp_path / "prompts", tmp_path / "out", copies=2)
    (tmp_path / "prompts/1.b.txt").write_text("a dog")
    with pytest.raises(InputError, match="before the first dot"):
        read(tmp_path / "prompts")
    (tmp_path / "good.txt").write_text("a cat\n")
    with pytest.raises(InputError, match="holds something"):
        lay_out(pipeline, tmp_path / "good.txt", tmp_path)
    assert not (tmp_path / "out").exists()
