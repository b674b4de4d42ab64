"""Files both ways between us and diffusers: what one writes the other reads, and draws the same pictures of."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.core import Request, seeded
from limner.drawing import draw
from limner.families.stable_diffusion import Config, Knobs, StableDiffusion
from limner.families.stable_diffusion_layouts import read, write_diffusers, write_single
from limner.families.stable_diffusion_layouts.configs import AutoencoderKL, UNet2DConditionModel
from limner.text.clip_layouts import read_tokenizer, tokenizer_at, transformers_tokenizer
from tests.oracles.comparing import error, scrambled
from tests.toys.stable_diffusion import KINDS, SD1, SD2, SDXL, same, toy, words

pytestmark = pytest.mark.filterwarnings("ignore")
WITHIN = 2.0  # of 255 steps between black and white
STEPS, SEED = 4, 3
PROMPT, NEGATIVE = "a red moon", "blue"
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.fixture(scope="module")
def diffusers(transformers: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("diffusers")


def ours_draws(model: StableDiffusion) -> Tensor:
    knobs = Knobs(steps=STEPS, solver="ddim", guidance=5.0)
    return draw(model, [Request(prompt=PROMPT, negative_prompt=NEGATIVE, seed=SEED, knobs=knobs)])[0]


def theirs_draws(pipe: Any, config: Config) -> Tensor:
    """(3, H, W) in [-1, 1], from the same noise."""
    pipe.set_progress_bar_config(disable=True)
    side = config.image_size // config.vae.factor
    latents = torch.randn((1, config.vae.channels, side, side), generator=seeded(SEED))
    common: dict[str, Any] = {
        "prompt": PROMPT, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS, "guidance_scale": 5.0,
        "latents": latents, "output_type": "pt", "height": config.image_size, "width": config.image_size,
    }  # fmt: skip
    return torch.as_tensor(pipe(**common).images[0]) * 2.0 - 1.0


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max()) * 127.5


# ---------------------------------------------------------------------------------------------------
# What we write.


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_diffusers_reads_our_folder_and_draws_the_same(diffusers: Any, tmp_path: Path, kind: str) -> None:
    model = toy(KINDS[kind])
    write_diffusers(tmp_path / "folder", model)
    pipe = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "folder", local_files_only=True)
    assert apart(theirs_draws(pipe, model.config), ours_draws(model)) < WITHIN


def test_diffusers_reads_our_inpainting_folder(diffusers: Any, tmp_path: Path) -> None:
    write_diffusers(tmp_path / "folder", toy(KINDS["inpainting"]))
    pipe = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "folder", local_files_only=True)
    assert isinstance(pipe, diffusers.StableDiffusionInpaintPipeline)
    assert pipe.unet.config.in_channels == 9


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "inpainting"])
def test_diffusers_reads_our_single_file(diffusers: Any, tmp_path: Path, kind: str) -> None:
    """It takes the sizes from a folder's configs, and every tensor from the file."""
    model = toy(KINDS[kind])
    write_diffusers(tmp_path / "folder", model)
    write_single(tmp_path / "model.safetensors", model)
    names = {"sdxl": "StableDiffusionXLPipeline", "inpainting": "StableDiffusionInpaintPipeline"}
    pipe = getattr(diffusers, names.get(kind, "StableDiffusionPipeline")).from_single_file(
        tmp_path / "model.safetensors", config=str(tmp_path / "folder"), local_files_only=True
    )
    from_folder = type(pipe).from_pretrained(tmp_path / "folder", local_files_only=True)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        if getattr(pipe, part, None) is not None:
            assert same(getattr(pipe, part), getattr(from_folder, part)), part
    if kind != "inpainting":
        assert apart(theirs_draws(pipe, model.config), ours_draws(model)) < WITHIN


def test_transformers_reads_our_tokenizer(transformers: Any, tmp_path: Path) -> None:
    kind, files = transformers_tokenizer(words(), pad=0, length=16)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    theirs = getattr(transformers, kind).from_pretrained(tmp_path)
    for text in ("a red moon", "", "Blue, RED & 12 moons!?", "bluered  re"):
        ids, mask = words().encode([text], 16)
        assert theirs(text, truncation=True).input_ids == ids[0][mask[0]].tolist()
    assert theirs.pad_token_id == 0


def test_clip_s_own_vocabulary_goes_there_and_back(open_clip: Any, transformers: Any, tmp_path: Path) -> None:
    merges = Path(open_clip.__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
    clip = tokenizer_at(merges)
    kind, files = transformers_tokenizer(clip, pad=clip.end, length=77)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    theirs, again = getattr(transformers, kind).from_pretrained(tmp_path), read_tokenizer(tmp_path)
    texts = ["a photo of an astronaut, riding a HORSE!", "  naïve café — 12,000 €", "", "it's they're <|endoftext|>x"]
    for text in texts[:3]:
        assert theirs(text).input_ids == again.encode([text], 77)[0][0].tolist()
    assert torch.equal(again.encode(texts, 77)[0], clip.encode(texts, 77)[0])
    assert again.vocabulary() == clip.vocabulary()


# ---------------------------------------------------------------------------------------------------
# What it writes.


def pipeline(diffusers: Any, transformers: Any, folder: Path, config: Config) -> Any:
    """A pipeline made of its own classes, with weights of its own."""
    torch.manual_seed(0)
    two = len(config.text.towers) == 2
    parts: dict[str, Any] = {
        "unet": diffusers.UNet2DConditionModel.from_config(UNet2DConditionModel.of(config.unet, sample_size=64)),
        "vae": diffusers.AutoencoderKL.from_config(AutoencoderKL.of(config.vae, sample_size=128)),
        "scheduler": diffusers.DDIMScheduler(
            **BETAS, prediction_type=config.prediction, steps_offset=1, clip_sample=False, set_alpha_to_one=False
        ),
    }
    for number, tower in enumerate(config.text.towers):
        kind = transformers.CLIPTextModelWithProjection if tower.out else transformers.CLIPTextModel
        about = transformers.CLIPTextConfig(
            hidden_size=tower.text.width, intermediate_size=tower.text.hidden, num_hidden_layers=tower.text.depth,
            num_attention_heads=tower.text.heads, max_position_embeddings=tower.text.length, vocab_size=words().size,
            hidden_act=tower.activation, eos_token_id=words().end, bos_token_id=words().start, pad_token_id=tower.pad,
            projection_dim=tower.out or 512,
        )  # fmt: skip
        name, files = transformers_tokenizer(words(), pad=tower.pad, length=tower.text.length)
        place = folder / f"words{number}"
        place.mkdir(parents=True)
        for file, data in files.items():
            (place / file).write_bytes(data)
        end = "_2" if number else ""
        parts |= {
            f"text_encoder{end}": kind(about),
            f"tokenizer{end}": getattr(transformers, name).from_pretrained(place),
        }
    for part in parts.values():
        if isinstance(part, nn.Module):
            scrambled(part)
    if two:
        return diffusers.StableDiffusionXLPipeline(**parts, add_watermarker=False)
    extra = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return diffusers.StableDiffusionPipeline(**parts, **extra)


@pytest.mark.parametrize("config", [SD1, SD2, SDXL], ids=["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize(
    "options", [{}, {"variant": "fp16"}, {"max_shard_size": "2MB"}], ids=["plain", "fp16", "shards"]
)
def test_we_read_its_folder_and_draw_the_same(
    diffusers: Any, transformers: Any, tmp_path: Path, config: Config, options: dict[str, str]
) -> None:
    pipe = pipeline(diffusers, transformers, tmp_path, config)
    pipe.save_pretrained(tmp_path / "folder", **options)
    if "max_shard_size" in options:
        assert (tmp_path / "folder/unet/diffusion_pytorch_model.safetensors.index.json").exists()
    found = read(tmp_path / "folder").built()
    assert found.config == config
    assert same(found.unet, pipe.unet)
    assert same(found.vae, pipe.vae)
    assert apart(theirs_draws(pipe, config), ours_draws(found)) < WITHIN


def test_its_single_files_are_ours(diffusers: Any, transformers: Any, tmp_path: Path) -> None:
    """Of SDXL the second tower's vector is the text's, through the projection that lies the other way round."""
    pipe = pipeline(diffusers, transformers, tmp_path, SDXL)
    pipe.save_pretrained(tmp_path / "folder")
    first = read(tmp_path / "folder").built()
    write_single(tmp_path / "model.safetensors", first)
    second = read(tmp_path / "model.safetensors").built()
    ids = pipe.tokenizer_2(PROMPT, padding="max_length", max_length=16, return_tensors="pt").input_ids
    with torch.no_grad():
        wanted = pipe.text_encoder_2(ids).text_embeds
        assert error(second.conditioner([PROMPT]).pooled, wanted) < 1e-5
    assert json.loads((tmp_path / "folder/model_index.json").read_text())["force_zeros_for_empty_prompt"] is True
    assert first.config.text.zeros
