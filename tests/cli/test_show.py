"""limner info, limner rerun, limner models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from limner import families, store
from limner.provenance import read_picture_settings, save_picture
from limner.shelf import DEFAULT


def test_info_shows_all_that_a_picture_carries(run, home):
    run("draw", "a red circle", "--negative", "rain", "--seed", 7, "-o", "a.webp", "-n", 1)
    lines = run("info", "a.webp").out.splitlines()
    hash = store.describe(home.parent / "shipped" / DEFAULT).hash[:10]
    assert lines[0] == "prompt:    a red circle"
    assert f"model:     flow-scenes (painter, {hash})" in lines
    assert "knobs:     steps = 3, guidance = 1.0, brush = round" in lines
    assert lines[-1] == "marked:    trainedAlgorithmicMedia (IPTC digital source type)"


def test_info_shows_another_programs_text_or_says_that_there_is_none(run, home):
    from PIL.PngImagePlugin import PngInfo

    theirs = PngInfo()
    theirs.add_text("parameters", "a cat\nSteps: 20, Seed: 1, Size: 8x8")
    Image.new("RGB", (8, 8)).save("theirs.png", pnginfo=theirs)
    assert run("info", "theirs.png").out == "a cat\nSteps: 20, Seed: 1, Size: 8x8\n"
    Image.new("RGB", (8, 8)).save("plain.png")
    assert run("info", "plain.png").out == "plain.png does not say what it was drawn with\n"


@pytest.mark.parametrize("what", [DEFAULT, "folder"])
def test_info_shows_a_models_knobs_and_card(run, home, what):
    folder = home.parent / "shipped" / DEFAULT
    out = run("info", folder if what == "folder" else what).out
    assert store.describe(folder).hash in out
    assert "  steps            int                      3\n" in out
    assert "  brush            round | flat             round\n" in out
    assert out.endswith("# A painter of noise\n")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_rerun_draws_the_same_pixels(run, home, suffix):
    run("draw", "a", "-n", 3, "--seed", 7, "--set", "brush=flat", "-o", f"a{suffix}")
    result = run("rerun", f"a-8{suffix}", "-o", "again.png")
    assert (result.code, result.out) == (0, "the same, pixel for pixel\n")
    assert read_picture_settings(home / "again.png").seed == 8


def test_rerun_says_what_differs(run, home):
    run("draw", "a", "--seed", 7, "-o", "a.png")
    settings = read_picture_settings(home / "a.png")
    with Image.open("a.png") as image:
        other = image.convert("RGB")
    red, green, blue = other.getpixel((3, 3))
    other.putpixel((3, 3), (red, green, blue - 5 if blue > 5 else blue + 5))
    save_picture(other, home / "b.png", replace(settings, torch="2.0"))
    result = run("rerun", "b.png")
    assert result.code == 1
    assert result.out.startswith("not the same: pixels differ by up to 5 of 255; torch 2.0 then, ")
    save_picture(other.resize((4, 4)), home / "c.png", settings)
    assert run("rerun", "c.png").out == "not the same: it is 4 x 4, drawn again 8 x 8\n"


def test_rerun_finds_the_model_by_its_hash_or_asks_for_it(run, home, painter):
    families.save(home / "runs/mine/model", painter)
    painter.colour.bias.data.add_(1.0)
    families.save(home / "runs/other/model", painter)
    run("draw", "a", "--model", "runs/other", "-o", "a.png")
    assert run("rerun", "a.png").code == 0
    (home / "runs/other/model").rename(home / "moved")
    (home / "runs/mine/model/manifest.json").write_text("broken, and none of our business")
    result = run("rerun", "a.png")
    assert result.code == 2
    assert '"other"' in result.err
    assert "--model" in result.err
    assert run("rerun", "a.png", "--model", "moved").code == 0
    assert "model " in run("rerun", "a.png", "--model", DEFAULT).out


def test_models_lists_shipped_and_trained_ones_and_those_that_are_not_whole(run, home, painter):
    families.save(home / "runs/mine/model", painter)
    families.save(home / "runs/torn/model", painter)
    (home / "runs/torn/model/model.safetensors").unlink()
    shipped, mine, torn = run("models").out.splitlines()
    assert shipped.split()[:3] == [DEFAULT, "painter", "8"]
    assert mine.split()[:2] == ["runs/mine/model", "painter"]
    assert "runs/torn/model/model.safetensors is missing" in torn


def test_there_may_be_no_model_at_all(run, tmp_path, monkeypatch):
    from limner import shelf

    monkeypatch.setattr(shelf, "SHIPPED", tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    assert "no model yet" in run("models").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["info", "absent.png"], "absent.png does not exist"),
        (["info", "text.png"], "cannot be read as a PNG"),
        (["info", "pickle.safetensors"], "pickle"),
        (["info", "."], "config.json"),
        (["rerun", "absent.png"], "absent.png does not exist"),
        (["rerun", "plain.png"], "carries no settings"),
        (["rerun", "preview.png"], "preview.png: it is a preview after step 2"),
        (["rerun"], "Missing argument"),
    ],
)
def test_bad_input_is_one_line(run, home, words, said):
    Path("text.png").write_text("no picture")
    Path("pickle.safetensors").write_bytes(b"\x80\x04cos\nsystem\n.")
    Image.new("RGB", (8, 8)).save("plain.png")
    run("draw", "a", "--seed", 1, "--previews", "-o", "a.png")
    Path("a-steps/002.png").rename("preview.png")
    result = run(*words)
    assert (result.code, result.out) == (2, "")
    assert said in result.err
    assert result.err.count("\n") == 1
