"""Models of other programs from the command line and in Python: drawn with, told about, written; pickles refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.cli.conftest import Run
from tests.toys.stable_diffusion import TINY, toy

from limner.families.stable_diffusion import StableDiffusion
from limner.pipeline import Pipeline

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
    done = run("draw", "a cat", "--model", "old.ckpt")
    assert done.code == 2
    assert "pickle" in done.err
