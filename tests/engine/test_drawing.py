"""A Stable Diffusion that a pipeline made fast draws what it drew before, and is loaded in the precision asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner import families
from limner.codecs.vae import VAEConfig
from limner.core import InputError
from limner.engine import layers
from limner.families.stable_diffusion import Config, StableDiffusion
from limner.nn.unet import UNetConfig
from limner.pipeline import Pipeline
from limner.text.bpe import BPE
from limner.text.clip import ClipTextConfig
from limner.text.conditioning import ConditionerConfig, TowerConfig
from tests.engine.kernel import with_bf16

WORDS = ["a red square on a white ground", "a blue circle"]
TEXT = ClipTextConfig(width=32, depth=2, heads=2, hidden=64, length=16)
CONFIG = Config(
    image_size=64, text=ConditionerConfig((TowerConfig(TEXT),)),
    unet=UNetConfig(widths=(32, 64), blocks=1, depths=(1, 1), heads=(2, 2), context=32, groups=8),
    vae=VAEConfig(widths=(16, 32, 32, 32), blocks=1, groups=8),
)  # fmt: skip


@pytest.fixture(autouse=True)
def in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(families.TABLE, "stable_diffusion", "limner.families.stable_diffusion:StableDiffusion")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    family = StableDiffusion(CONFIG, BPE.train(WORDS * 20, 300))
    with torch.no_grad():
        for one in family.unet.parameters():
            one.add_(0.05 * torch.randn_like(one))
    made = tmp_path / "small"
    families.save(made, family)
    return made


def drawn(pipe: Pipeline) -> torch.Tensor:
    images: torch.Tensor = pipe(WORDS, seed=3, num_inference_steps=4, output_type="pt").images
    return images


@pytest.mark.parametrize(("precision", "compile", "within"), [
    ("fp32", "auto", 2.0), pytest.param("bf16", "off", 40.0, marks=with_bf16)
])  # fmt: skip
def test_made_fast_it_draws_the_same(folder: Path, precision: str, compile: str, within: float) -> None:
    expected = drawn(Pipeline(families.load(folder)))
    found = drawn(Pipeline.from_pretrained(folder, precision=precision, compile=compile))
    assert 255.0 * float((found - expected).abs().max()) <= within


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize(("compile", "compiler"), [("auto", "gcc"), ("auto", "no-such-compiler"), ("off", "gcc")])
def test_a_model_in_half_precision_is_drawn_in_float32_from_weights_that_stay_as_they_are(
    compile: str, compiler: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    halved = tmp_path / "halved"
    families.save(halved, families.load(folder), dtype=torch.float16)
    expected = drawn(Pipeline(families.load(halved)))
    pipe = Pipeline.from_pretrained(halved, precision="fp32", compile=compile)
    assert pipe.precision == "fp32"
    assert {one.dtype for network in pipe.family.networks() for one in network.parameters()} == {torch.float16}
    found = drawn(pipe)
    assert 255.0 * float((found - expected).abs().max()) <= 2.0
    assert pipe.precision == "fp32"


@with_bf16
def test_it_is_loaded_in_the_precision_asked_for_and_packed_when_it_first_draws(folder: Path) -> None:
    pipe = Pipeline.from_pretrained(folder, precision="bf16")
    assert {one.dtype for network in pipe.family.networks() for one in network.parameters()} == {torch.bfloat16}
    assert isinstance(pipe.family, StableDiffusion)
    assert not isinstance(pipe.family.unet.conv_in, layers.Convolution)
    drawn(pipe.to("cpu"))
    assert isinstance(pipe.family.unet.conv_in, layers.Convolution)
    with pytest.raises(InputError, match="small was made fast for where it drew; load it again"):
        pipe.to("cpu")


def test_a_wish_that_cannot_be_is_refused_in_one_line(folder: Path) -> None:
    with pytest.raises(InputError, match='precision = "int8" is not one of'):
        Pipeline.from_pretrained(folder, precision="int8")
    with pytest.raises(InputError, match='compile = "perhaps" is not one of auto, on, off'):
        Pipeline.from_pretrained(folder, compile="perhaps")


def test_without_a_wish_a_family_is_loaded_as_it_computes(folder: Path) -> None:
    loaded = families.load(folder)
    assert {one.dtype for one in loaded.parameters()} == {torch.float32}
