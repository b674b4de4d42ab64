"""limner draw and rerun at any size and over images: what is asked for on the command line, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.pipeline import Pipeline
from limner.provenance import read_digital_source, read_parameters, read_picture_settings, read_pixels

SETTINGS = ("--model", "wall", "--seed", 1, "-o", "a.png")


@pytest.fixture
def desk(wall: Path) -> Path:
    """With a picture, a mask of its right half, and things that are neither."""
    rough = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    Image.fromarray(rough).save(wall / "in.png")
    mask = Image.new("L", (20, 12))
    mask.paste(255, (10, 0, 20, 12))
    mask.save(wall / "mask.png")
    Image.new("L", (20, 12)).save(wall / "black.png")
    Image.new("L", (20, 12), 255).save(wall / "white.png")
    Image.new("L", (12, 20), 255).save(wall / "turned.png")
    Image.new("RGB", (400, 300)).save(wall / "photo.jpg")
    (wall / "text.png").write_text("no picture")
    return wall


def pixels(path: Path) -> np.ndarray:
    return np.asarray(read_pixels(path)).astype(int)


def test_a_size_is_drawn(run, desk):
    assert run("draw", "x", *SETTINGS, "--size", "24x12").err == ""
    assert read_pixels(desk / "a.png").size == (24, 12)
    assert "Size: 24x12" in read_parameters(desk / "a.png")
    assert run("rerun", "a.png", "--model", "wall").code == 0


def test_a_picture_is_drawn_anew(run, desk):
    assert run("draw", "x", *SETTINGS, "--image", "in.png", "--strength", "0.25").err == ""
    own = Pipeline.from_pretrained("wall")("x", seed=1, image=Image.open(desk / "in.png"), strength=0.25)
    assert read_pixels(desk / "a.png").tobytes() == own.images[0].tobytes()
    assert "Denoising strength: 0.25, Init image hash: " in read_parameters(desk / "a.png")
    assert read_digital_source(desk / "a.png") == "compositeWithTrainedAlgorithmicMedia"
    assert "over:      another picture" in run("info", "a.png").out


def test_a_part_is_repainted_and_the_rest_kept_where_asked(run, desk):
    assert run("draw", "x", *SETTINGS, "--image", "in.png", "--mask", "mask.png", "--exact").err == ""
    changed = (pixels(desk / "a.png") != pixels(desk / "in.png")).any(axis=2)
    assert not changed[:, :10].any()
    assert changed[:, 12:].mean() > 0.9
    assert read_picture_settings(desk / "a.png").feather == 8
    assert "Mask blur: 8" in read_parameters(desk / "a.png")
    assert run("draw", "x", *SETTINGS, "--image", "in.png", "--mask", "mask.png", "--feather", 2).err == ""
    assert read_picture_settings(desk / "a.png").feather == 2


def test_a_picture_is_extended(run, desk):
    assert run("draw", "x", *SETTINGS, "--image", "in.png", "--extend", "left=8, top=5", "--feather", 0).err == ""
    assert np.array_equal(pixels(desk / "a.png")[5:, 8:], pixels(desk / "in.png"))
    assert "Extend: left=8 top=5" in read_parameters(desk / "a.png")
    assert "extended:  left=8 top=5" in run("info", "a.png").out


def test_a_picture_is_enlarged_and_its_steps_are_kept(run, desk):
    assert run("draw", "x", *SETTINGS, "--size", "16x12", "--upscale", 2, "--steps", 2, "--previews").err == ""
    assert read_pixels(desk / "a.png").size == (32, 24)
    text = read_parameters(desk / "a.png")
    assert "Size: 16x12, " in text
    assert "Denoising strength: 0.5, Hires upscale: 2.0, Hires upscaler: Lanczos, " in text
    names = sorted(path.name for path in (desk / "a-steps").iterdir())
    assert names == ["001.png", "002.png", "second-002.png"]
    assert "enlarged:  2 times" in run("info", "a.png").out
    assert run("rerun", "a.png", "--model", "wall").code == 0


def test_what_was_painted_over_a_picture_is_drawn_again_with_it(run, desk):
    run("draw", "x", *SETTINGS, "--image", "in.png", "--mask", "mask.png", "--exact")
    again = ("rerun", "a.png", "--model", "wall")
    same = run(*again, "--image", "in.png", "--mask", "mask.png")
    assert (same.code, same.out) == (0, "the same, pixel for pixel\n")
    for words, said in (
        ((), "give that image too"),
        (("--image", "in.png"), "give a mask"),
        (("--image", "in.png", "--mask", "white.png"), "another picture or mask"),
        (("--image", "text.png"), "text.png"),
    ):
        refused = run(*again, *words)
        assert refused.code == 2
        assert said in refused.err
        assert refused.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--size", "24"], ['--size "24"', "768x512"]),
        (["--size", "24x13"], ["24 x 13", "multiples of 4; the nearest is 24 x 12"]),
        (["--size", "99999x99999"], ["more than the 16,777,216"]),
        (["--size", "0x8"], ["0 x 8 pixels are no picture"]),
        (["--model", "flow-scenes", "--size", "24x12"], ["draws 8 x 8 alone"]),
        (["--model", "flow-scenes", "--upscale", "2"], ["flow-scenes cannot draw anew"]),
        (["--image", "absent.png"], ["absent.png does not exist"]),
        (["--image", "text.png"], ["text.png", "none of PNG"]),
        (["--image", "wall"], ["wall is a folder"]),
        (["--image", "photo.jpg"], ["400 x 300", "give the size, 16 x 16 say"]),
        (["--image", "in.png", "--strength", "0"], ["strength = 0.0 is not above 0"]),
        (["--strength", "0.5"], ["strength", "there is none"]),
        (["--set", "strength=0.5"], ["strength", "there is none"]),
        (["--mask", "mask.png"], ["give the image too"]),
        (["--image", "in.png", "--mask", "black.png"], ["nothing to paint"]),
        (["--image", "in.png", "--mask", "turned.png"], ["the mask is 12 x 20 and the image 20 x 12"]),
        (["--image", "in.png", "--mask", "mask.png", "--extend", "left=8"], ["leave the mask out"]),
        (["--image", "in.png", "--extend", "lfet=8"], ['unknown key "lfet" (did you mean "left"?)']),
        (["--image", "in.png", "--extend", "left"], ['--extend "left"', "left=128,right=128"]),
        (["--image", "in.png", "--extend", "left=0"], ["nothing is added"]),
        (["--extend", "left=8"], ["give the image too"]),
        (["--exact"], ["give an image and a mask"]),
        (["--image", "in.png", "--feather", "2"], ["give a mask"]),
        (["--upscale", "0.5"], ["upscale = 0.5"]),
        (["--upscale", "nan"], ["upscale = nan"]),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run, desk, words, said):
    before = sorted(desk.rglob("*"))
    result = run("draw", "x", "--model", "wall", *words)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("limner: ")
    assert result.err.count("\n") == 1
    for word in said:
        assert word in result.err
    assert sorted(desk.rglob("*")) == before
