"""Models of other programs from the command line and in Python: drawn with, told about, written; pickles refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image

from limner import engine
from limner.families.stable_diffusion import StableDiffusion
from limner.pipeline import Pipeline
from limner.provenance import read_picture_settings, save_picture
from tests.cli.conftest import Run
from tests.engine.kernel import with_bf16
from tests.toys.stable_diffusion import TINY, toy

STEPS = {"num_inference_steps": 2, "seed": 3}


@pytest.fixture(scope="module")
def model() -> StableDiffusion:
    return toy(TINY)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["folder", "model.safetensors"])
def test_a_model_of_another_program_draws_and_is_written_again(
    home: Path, run: Run, model: StableDiffusion, name: str
) -> None:
    Pipeline(model).save_pretrained(home / name)
    done = run("draw", "a cat", "--model", home / name, "--steps", 2, "--seed", 3, "-o", "cat.png")
    assert done.code == 0, done.err
    pipe = Pipeline.from_pretrained(home / name)
    assert pipe.name == Path(name).stem
    pipe.save_pretrained(home / "again")
    drawn = pipe("a cat", **STEPS).images[0]
    with Image.open("cat.png") as before:
        assert drawn.tobytes() == before.tobytes()
    assert drawn.tobytes() == Pipeline.from_pretrained(home / "again")("a cat", **STEPS).images[0].tobytes()
    with pytest.raises(ValueError, match="load it again to save it"):
        pipe.save_pretrained(home / "more")
    done = run("info", home / name)
    assert done.code == 0, done.err
    assert "stable_diffusion" in done.out
    assert "by another program" in done.out
    done = run("rerun", "cat.png", "--model", home / name)
    assert done.code == 0, done.err


@pytest.mark.parametrize("task", ["image", "mask", "size", "extend", "upscale"])
def test_every_task(home: Path, run: Run, model: StableDiffusion, task: str) -> None:
    Pipeline(model).save_pretrained(home / "folder")
    Image.new("RGB", (64, 64), "red").save("in.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    mask.save("mask.png")
    more, size = {
        "image": (("--image", "in.png", "--strength", 0.5), (64, 64)),
        "mask": (("--image", "in.png", "--mask", "mask.png", "--exact"), (64, 64)),
        "size": (("--size", "96x64"), (96, 64)),
        "extend": (("--image", "in.png", "--extend", "left=16"), (80, 64)),
        "upscale": (("--upscale", 2), (128, 128)),
    }[task]
    done = run("draw", "a cat", "--model", "folder", "--steps", 4, "-o", "out.png", *more)
    assert done.code == 0, done.err
    with Image.open("out.png") as drawn:
        assert drawn.size == size
        if task == "mask":
            assert drawn.getpixel((2, 2)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a cat", "--upscale", 2, "--strength", 0.2), "strength = 0.2 of steps = 4 leaves no step to take"),
        (("a cat", "blue " * 390), "chunks of"),
        (("a cat", "--set", "clip_skip=9"), "clip_skip = 9 is not from 1 to"),
        (("a cat", "-o", "in.png/folder/out.png"), "is no folder"),
        (("a cat", "-o", "in.png/folder"), "is no folder"),
    ],
)
def test_what_cannot_be_drawn_or_kept_is_refused_before_anything_is_drawn(
    home: Path, run: Run, model: StableDiffusion, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...], said: str
) -> None:
    Pipeline(model).save_pretrained(home / "folder")
    Image.new("RGB", (64, 64), "red").save("in.png")
    (home / "cache").mkdir()
    drawn: list[object] = []
    monkeypatch.setattr(StableDiffusion, "advance", lambda self, sketches: drawn.append(sketches))
    done = run("draw", "--model", "folder", "--steps", 4, *words)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert said in done.err
    assert (drawn, {path.name for path in home.iterdir()}) == ([], {"cache", "folder", "in.png"})


@with_bf16
def test_what_was_drawn_in_a_precision_of_its_own_is_drawn_again_in_it(
    home: Path, run: Run, model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    Pipeline(model).save_pretrained(home / "folder")
    usual = Pipeline.from_pretrained("folder")
    usual("a cat", **STEPS)
    other = "fp32" if usual.precision == "bf16" else "bf16"
    drawing = ("draw", "a cat", "--model", "folder", "--steps", 2, "--seed", 3)
    done = run(*drawing, "--precision", other, "--compile", "off", "-o", "other.png")
    assert done.code == 0, done.err
    settings = read_picture_settings(Path("other.png"))
    assert settings is not None
    assert (settings.precision, settings.compile) == (other, "off")
    assert f"in {other}," in run("info", "other.png").out
    done = run("rerun", "other.png", "--model", "folder")
    assert (done.code, done.out) == (0, "the same, pixel for pixel\n")


def test_what_was_drawn_in_a_precision_that_this_processor_lacks_is_drawn_again_in_its_own(
    home: Path, run: Run, model: StableDiffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    Pipeline(model).save_pretrained(home / "folder")
    done = Pipeline.from_pretrained("folder")("a cat", **STEPS)
    save_picture(done.images[0], Path("other.png"), replace(done.settings[0], precision="fp16"))
    monkeypatch.setattr(engine, "can_compute", lambda precision, device: precision != "fp16")
    again = run("rerun", "other.png", "--model", "folder")
    assert (again.code, again.out) == (0, "the same, pixel for pixel\n")


def test_info_does_not_call_a_model_whole_that_is_not(home: Path, run: Run, model: StableDiffusion) -> None:
    Pipeline(model).save_pretrained(home / "folder")
    (weights,) = (home / "folder" / "vae").glob("*.safetensors")
    tensors = safetensors.torch.load_file(weights)
    del tensors["decoder.conv_in.bias"]
    safetensors.torch.save_file(tensors, weights)
    done = run("info", "folder")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "decoder.conv_in.bias" in done.err


def test_sums_are_remembered_until_the_file_changes(home: Path, model: StableDiffusion) -> None:
    Pipeline(model).save_pretrained(home / "model.safetensors")
    before = Pipeline.from_pretrained(home / "model.safetensors").hash
    assert Pipeline.from_pretrained(home / "model.safetensors").hash == before
    (home / "cache" / "limner" / "sums.json").write_text("torn")
    assert Pipeline.from_pretrained(home / "model.safetensors").hash == before
    with torch.no_grad():
        model.unet.conv_out.weight.add_(0.5)
    Pipeline(model).save_pretrained(home / "model.safetensors")
    assert Pipeline.from_pretrained(home / "model.safetensors").hash != before


def test_a_pickle_is_refused(run: Run) -> None:
    torch.save({"state_dict": {"a": torch.ones(1)}}, "old.ckpt")
    for words in (("draw", "a cat", "--model", "old.ckpt"), ("info", "old.ckpt")):
        done = run(*words)
        assert done.code == 2
        assert "pickle" in done.err
        assert "limner convert" in done.err
