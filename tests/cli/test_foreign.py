"""Models of other programs from the command line and in Python: drawn with, told about, written; pickles converted."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
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


def test_a_pickle_is_refused_with_the_way_out_and_converted(run: Run) -> None:
    weights = {"a": torch.randn(3, 4), "b": torch.ones(2, dtype=torch.float16)}
    torch.save({"state_dict": weights, "epoch": 3, "optimizer_states": [{"x": torch.ones(1)}]}, "old.ckpt")
    done = run("draw", "a cat", "--model", "old.ckpt")
    assert done.code == 2
    assert "pickle" in done.err
    done = run("convert", "old.ckpt", "new.safetensors")
    assert done.code == 0, done.err
    assert "2 tensors" in done.out
    assert "SHA-256" in done.out
    assert all(one.equal(weights[name]) for name, one in load_file("new.safetensors").items())
    done = run("convert", "old.ckpt", "new.safetensors")
    assert done.code == 2
    assert "exists" in done.err


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_pickle_is_run(home: Path, run: Run, zipped: bool) -> None:
    found = {"state_dict": {"a": torch.ones(2)}, "more": Malicious(home / "ran")}
    torch.save(found, "bad.ckpt", _use_new_zipfile_serialization=zipped)
    done = run("convert", "bad.ckpt", "new.safetensors")
    assert not (home / "ran").exists()
    assert not (home / "new.safetensors").exists()
    assert done.code == 2
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("what", ["bomb", "torn", "plain", "text"])
def test_what_is_no_pickle_of_weights_is_one_line(home: Path, run: Run, what: str) -> None:
    old = home / "old.ckpt"
    if what == "bomb":
        with zipfile.ZipFile(old, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("archive/data.pkl", b"\0" * (300 << 20))
    elif what == "torn":
        torch.save({"a": torch.ones(1000)}, old)
        old.write_bytes(old.read_bytes()[:1500])
    elif what == "plain":
        torch.save({"a": 1}, old)
    else:
        old.write_text("hello")
    done = run("convert", old, "new.safetensors")
    assert done.code == 2, done.err
    assert done.err.count("\n") == 1
    assert not (home / "new.safetensors").exists()
