"""limner draw: where pictures go, what they are named, and what is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from PIL import Image

from limner import provenance
from limner.cli.drawing import slug
from limner.pipeline import Pipeline
from limner.provenance import read_picture_settings, read_pixels


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_pictures_are_named_by_prompt_and_seed_and_told(run, home):
    result = run("draw", "A stop sign, flying!", "ひまわり", "-n", 2, "--seed", 7, "--steps", 2, "--negative", "rain")
    names = [f"a-stop-sign-flying-{seed}.png" for seed in (7, 8)] + [f"ひまわり-{seed}.png" for seed in (9, 10)]
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[:-1] == [f"drawings/{name}" for name in names]
    assert result.out.splitlines()[-1].startswith("4 pictures in ")
    assert files(home) == sorted(f"drawings/{name}" for name in names)
    settings = read_picture_settings(home / "drawings" / names[1])
    assert (settings.prompt, settings.seed, settings.negative_prompt) == ("A stop sign, flying!", 8, "rain")
    assert settings.knobs == {"steps": 2, "guidance": 1.0, "brush": "round"}
    own = Pipeline.from_pretrained()("A stop sign, flying!", seed=8, negative_prompt="rain", num_inference_steps=2)
    assert read_pixels(home / "drawings" / names[1]).tobytes() == own.images[0].tobytes()


def test_what_is_there_is_not_overwritten_unless_named(run, home):
    for _ in range(3):
        assert run("draw", "x", "--seed", 1).code == 0
    assert files(home) == ["drawings/x-1-2.png", "drawings/x-1-3.png", "drawings/x-1.png"]
    for prompt in ("first", "second"):
        assert run("draw", prompt, "--seed", 1, "-o", "named.webp").code == 0
    assert read_picture_settings(home / "named.webp").prompt == "second"


def test_several_pictures_of_one_name_carry_their_seeds(run, home):
    assert run("draw", "x", "-n", 2, "--seed", 5, "-o", "new/cat.jpg").code == 0
    assert files(home) == ["new/cat-5.jpg", "new/cat-6.jpg"]
    with Image.open(home / "new/cat-5.jpg") as image:
        assert image.format == "JPEG"


def test_prompts_come_from_a_file_too(run, home):
    (home / "prompts.txt").write_text("\ufeffred\n\n  blue  \n", encoding="utf-8")
    assert run("draw", "--file", "prompts.txt", "--seed", 1, "-o", "out").code == 0
    assert files(home / "out") == ["blue-2.png", "red-1.png"]


def test_knobs_are_set_and_checked(run, home):
    assert run("draw", "x", "--seed", 1, "--set", "brush=flat", "--set", "guidance = 2.5", "-o", "a.png").code == 0
    assert read_picture_settings(home / "a.png").knobs == {"steps": 3, "guidance": 2.5, "brush": "flat"}


def test_previews_are_kept_beside_each_picture(run, home):
    assert run("draw", "x", "-n", 2, "--seed", 1, "--steps", 2, "--previews", "-o", "a.png").code == 0
    expected = [f"a-{seed}-steps/{step:03}.png" for seed in (1, 2) for step in (1, 2)]
    assert files(home) == sorted([*expected, "a-1.png", "a-2.png"])
    assert read_picture_settings(home / "a-1-steps/001.png").step == 1
    assert read_pixels(home / "a-1-steps/002.png").tobytes() == read_pixels(home / "a-1.png").tobytes()
    assert read_pixels(home / "a-1-steps/001.png").tobytes() != read_pixels(home / "a-1.png").tobytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "untitled"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\0b\n\ud800c", "a-b-c"),
        ("🌻", "untitled"),
        ("Ｓｔｏｐ_sign ½", "stop-sign-1-2"),
        ("w " * 100, "w-" * 19 + "w"),
        ("ひ" * 100, "ひ" * 40),
    ],
)
def test_any_prompt_has_a_name_that_a_file_may_have(text, expected):
    assert slug(text) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x" * 10_000], ["10,000 characters", "2,000", "shorten"]),
        (["x", "--negative", "x" * 2_001], ["--negative", "2,001"]),
        (["x", "--steps", "-3"], ["steps = -3 is not from 0 to 100"]),
        (["x", "--steps", "many"], ["--steps"]),
        (["x", "--set", "stesp=3"], ['unknown key "stesp" (did you mean "steps"?)']),
        (["x", "--set", "steps"], ['--set "steps"', "steps=20"]),
        (["x", "--steps", "2", "--set", "steps=3"], ["steps is given twice", "--set steps=3"]),
        (["x", "--set", "steps=2", "--set", "steps=3"], ["steps is given twice", "--set steps=3"]),
        (["x", "--extend", "left=8,left=8"], ['--extend "left=8,left=8"', "twice"]),
        (["x", "--model", "flow-scense"], ['no model "flow-scense" (did you mean "flow-scenes"?)']),
        (["x", "--model", "absent/"], ["absent", "folder"]),
        (["x", "--model", "."], ["config.json"]),
        (["x", "--file", "absent.txt"], ["absent.txt", "No such file"]),
        (["x", "--file", "bad.txt"], ["bad.txt", "UTF-8"]),
        (["--file", "long.txt"], ["long.txt, line 2", "2,000"]),
        (["x", "-o", "picture.bmp"], ["picture.bmp", ".png"]),
        (["x", "-o", "bad.txt/pictures"], ["bad.txt", "no folder", "another place"]),
        (["x", "-n", "0"], ["0 pictures"]),
        (["x", "--seed", "-1"], ["seed = -1"]),
        ([], ["no prompt"]),
        (["x", "--stpes", "3"], ["--stpes"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run, home, words, said):
    (home / "bad.txt").write_bytes(b"\xff\xfe")
    (home / "long.txt").write_text("fine\n" + "x" * 2_001)
    result = run("draw", *words)
    assert result.code in (1, 2)
    assert result.out == ""
    assert result.err.startswith("limner: ")
    assert result.err.count("\n") == 1
    for word in said:
        assert word in result.err
    assert files(home) == ["bad.txt", "long.txt"]


def test_a_truncated_model_and_a_renamed_pickle_are_refused(run, home, tmp_path):
    path = tmp_path / "shipped/flow-scenes/model.safetensors"
    whole = path.read_bytes()
    pickled = b"cos\nsystem\n(S'touch canary'\ntR."
    for content, word in ((whole[:-5], "truncated"), (b"\x80\x04" + pickled, "pickle"), (pickled, "no other kind")):
        path.write_bytes(content)
        for words in ((), ("--model", path)):
            result = run("draw", "x", *words)
            assert (result.code, result.out) == (2, "")
            assert str(path) in result.err
            assert word in result.err
            assert result.err.count("\n") == 1
    assert files(home) == []


def test_a_full_disk_is_one_line_and_leaves_no_half_picture(run, home, monkeypatch):
    assert run("draw", "x", "--seed", 1, "-o", "a.png").code == 0
    before = (home / "a.png").read_bytes()

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(provenance, "atomic_write", full)
    result = run("draw", "y", "--seed", 1, "-o", "a.png")
    assert (result.code, result.err) == (1, "limner: No space left on device\n")
    assert (home / "a.png").read_bytes() == before


def test_ctrl_c_keeps_what_is_done(run, home, monkeypatch):
    from limner.cli import drawing

    saved = drawing.save_picture

    def once(image, path, settings):
        if list(home.rglob("*.png")):
            raise KeyboardInterrupt
        saved(image, path, settings)

    monkeypatch.setattr(drawing, "save_picture", once)
    assert run("draw", "x", "-n", 2, "--seed", 1).code == 130
    assert files(home) == ["drawings/x-1.png"]
