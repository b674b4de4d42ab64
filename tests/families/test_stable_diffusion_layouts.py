"""Stable Diffusions in other programs' files, there and back, and what is refused. tests/oracles asks the programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner.codecs.vae import VAEConfig
from limner.core import InputError
from limner.families import Hollow
from limner.families.stable_diffusion import Config, StableDiffusion
from limner.families.stable_diffusion_layouts import names, read, recognise, singles, write_diffusers, write_single
from limner.nn.unet import UNetConfig
from limner.store import weights
from limner.text import conditioning
from limner.text.bpe import BPE
from tests.toys.stable_diffusion import KINDS, SD1, SD2, TINY, identical, same, toy, words

UNET = "unet/diffusion_pytorch_model.safetensors"
FIRST = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.fixture(scope="module")
def models() -> dict[str, StableDiffusion]:
    return {name: toy(config) for name, config in KINDS.items()} | {"tiny": toy(TINY)}


@pytest.fixture
def folder(models: dict[str, StableDiffusion], tmp_path: Path) -> Path:
    write_diffusers(tmp_path / "folder", models["tiny"])
    return tmp_path / "folder"


@pytest.fixture
def file(models: dict[str, StableDiffusion], tmp_path: Path) -> Path:
    write_single(tmp_path / "model.safetensors", models["tiny"])
    return tmp_path / "model.safetensors"


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A JSON file, or one of safetensors, after `change`."""
    if path.suffix == ".json":
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))
    else:
        tensors = load_file(path)
        about = dict(weights.header(path).metadata)
        change(tensors)
        save_file(tensors, path, metadata=about)


def without_metadata(path: Path, **metadata: str) -> None:
    """As other programs write it."""
    save_file(load_file(path), path, metadata=metadata)


def refused(path: Path, *words: str) -> str:
    with pytest.raises(InputError) as caught:
        read(path).built()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    return message


# ---------------------------------------------------------------------------------------------------
# There and back.


@pytest.mark.parametrize("kind", KINDS)
def test_folder_to_single_file_to_folder_every_byte_is_the_same(
    models: dict[str, StableDiffusion], tmp_path: Path, kind: str
) -> None:
    write_diffusers(tmp_path / "one", models[kind])
    assert recognise(tmp_path / "one") == "diffusers"
    first = read(tmp_path / "one").built()
    write_single(tmp_path / "model.safetensors", first)
    assert recognise(tmp_path / "model.safetensors") == "single"
    second = read(tmp_path / "model.safetensors").built()
    write_diffusers(tmp_path / "two", second)
    assert first.config == second.config == models[kind].config
    assert same(first, models[kind])
    assert same(second, models[kind])
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_single_file_does_not_say_is_seen_from_its_weights(
    models: dict[str, StableDiffusion], tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "model.safetensors"
    write_single(path, models[kind])
    without_metadata(path)
    found = read(path)
    sizes = {"sd1": 512, "inpainting": 512, "sd2": 768, "sdxl": 1024}
    assert found.config == replace(models[kind].config, image_size=sizes[kind])
    assert same(found.built(), models[kind])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_stay_in_the_precision_in_which_they_are_stored(tmp_path: Path, dtype: torch.dtype) -> None:
    model = toy(TINY).to(dtype)
    write_diffusers(tmp_path / "folder", model)
    write_single(tmp_path / "model.safetensors", read(tmp_path / "folder").built())
    again = read(tmp_path / "model.safetensors").built()
    assert {one.dtype for one in again.parameters()} == {dtype}
    assert same(again, model)


def test_another_tokenizer_than_clip_s_goes_with_its_model(tokenizer: BPE, tmp_path: Path) -> None:
    model = StableDiffusion(
        replace(TINY, text=replace(TINY.text, towers=(replace(TINY.text.towers[0], pad=0),))), tokenizer
    )
    write_diffusers(tmp_path / "folder", model)
    write_single(tmp_path / "model.safetensors", model)
    for path in (tmp_path / "folder", tmp_path / "model.safetensors"):
        again = read(path).built()
        texts = ["a red square", "", "a blue circle on a green ground"]
        ours, theirs = (one.conditioner.tokenizer.encode(texts, 16) for one in (model, again))
        assert identical(ours[0], theirs[0])
        assert identical(ours[1], theirs[1])


def test_what_a_training_leaves_is_drawn_with_alike_elsewhere(tmp_path: Path) -> None:
    """Lessons stay behind, and measured units of latents go into the layers beside them."""
    model = toy(replace(TINY, vae=replace(TINY.vae, scale="measured")))
    model.vae.mean.copy_(torch.tensor([0.5, -1.0, 2.0, 0.0]))
    model.vae.spread.copy_(torch.tensor([0.5, 1.0, 2.0, 4.0]))
    write_diffusers(tmp_path / "folder", model)
    again = read(tmp_path / "folder").built()
    assert again.config.vae.scale == 1.0
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(again.vae.encode(images), model.vae.encode(images))
        latents = model.vae.encode(images)
        torch.testing.assert_close(again.vae.decode(latents), model.vae.decode(latents))
        spread = model.vae.spread[:, None, None]
        torch.testing.assert_close(
            again.vae.moments(images).log_sigma,
            model.vae.moments(images).log_sigma - spread.log(),
            atol=1e-5,
            rtol=1e-5,
        )


# ---------------------------------------------------------------------------------------------------
# Folders.


def test_a_variant_is_taken_where_it_is_asked_for_or_alone(folder: Path, models: dict[str, StableDiffusion]) -> None:
    plain, half = folder / UNET, (folder / UNET).with_suffix(".fp16.safetensors")
    save_file({name: one.half() for name, one in load_file(plain).items()}, half)
    assert read(folder).built().unet.conv_in.weight.dtype == torch.float32
    assert read(folder, variant="fp16").built().unet.conv_in.weight.dtype == torch.float16
    assert read(folder, variant="fp16").built().vae.quant_conv.weight.dtype == torch.float32  # which has none
    plain.unlink()
    assert read(folder).built().unet.conv_in.weight.dtype == torch.float16


def sharded(folder: Path) -> Path:
    """The U-Net in two shards; their index."""
    tensors = load_file(folder / UNET)
    (folder / UNET).unlink()
    places = {name: f"shard-{number % 2 + 1}-of-2.safetensors" for number, name in enumerate(sorted(tensors))}
    for place in set(places.values()):
        save_file({name: tensors[name] for name in tensors if places[name] == place}, folder / "unet" / place)
    index = folder / f"{UNET}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return index


def test_shards_are_read_by_their_index(folder: Path, models: dict[str, StableDiffusion]) -> None:
    sharded(folder)
    found = read(folder)
    assert same(found.built(), models["tiny"])
    assert [path.name for path in found.files[:2]] == ["shard-1-of-2.safetensors", "shard-2-of-2.safetensors"]


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a\\b", "", "..", "shard\0", 3, None, ["x"]])
def test_an_index_leads_nowhere_else(folder: Path, name: Any) -> None:
    index = sharded(folder)
    save_file({"x": torch.zeros(1)}, folder / "secret.safetensors")
    changed(index, lambda values: values["weight_map"].update({"conv_in.bias": name}))
    refused(folder, str(index), "index" if isinstance(name, str) else "is no file's name")


def test_links_lead_to_hugging_face_s_cache_and_nowhere_else(folder: Path, tmp_path: Path) -> None:
    sharded(folder)
    shard = folder / "unet/shard-1-of-2.safetensors"
    shard.rename(tmp_path / "elsewhere.safetensors")
    shard.symlink_to(tmp_path / "elsewhere.safetensors")
    refused(folder, "shard-1-of-2.safetensors is a link to a file elsewhere")
    shard.unlink()
    cache = tmp_path / "hub/models--a--b"
    (cache / "blobs").mkdir(parents=True)
    (tmp_path / "elsewhere.safetensors").rename(cache / "blobs/0123")
    (cache / "snapshots").mkdir()
    folder.rename(cache / "snapshots/4567")
    (cache / "snapshots/4567/unet/shard-1-of-2.safetensors").symlink_to("../../../blobs/0123")
    assert read(cache / "snapshots/4567").built() is not None


def test_index_and_shards_belong_together(folder: Path) -> None:
    index = sharded(folder)
    changed(index, lambda values: values["weight_map"].pop("conv_in.bias"))
    refused(folder, "conv_in.bias there is, and not in the index")
    (folder / "unet/shard-2-of-2.safetensors").unlink()
    refused(folder, "shard-2-of-2.safetensors is missing")


def test_a_pickle_is_refused_and_the_way_out_named(folder: Path) -> None:
    (folder / UNET).rename(folder / "unet/diffusion_pytorch_model.bin")
    refused(folder, "diffusion_pytorch_model.bin", "limner convert")
    (folder / UNET).write_bytes(b"\x80\x04cos\nsystem\n(S'touch canary'\ntR." + b" " * 64)
    refused(folder, UNET, "is a Python pickle")


def test_names_of_other_versions_are_known(folder: Path, models: dict[str, StableDiffusion]) -> None:
    """Old autoencoders, transformers from 5.6 on, and buffers that some files carry."""
    olds = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def older(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if ".attentions.0.to_" in name]:
            new = next(one for one in olds if f".{one}." in name)
            tensors[name.replace(f".{new}.", f".{olds[new]}.")] = tensors.pop(name)

    def newer(tensors: dict[str, Tensor]) -> None:
        for name in list(tensors):
            tensors[name.removeprefix("text_model.")] = tensors.pop(name)
        tensors["embeddings.position_ids"] = torch.arange(16)[None]

    changed(folder / "vae/diffusion_pytorch_model.safetensors", older)
    changed(folder / "text_encoder/model.safetensors", newer)
    assert same(read(folder).built(), models["tiny"])


def test_older_configs_leave_most_unsaid(models: dict[str, StableDiffusion], tmp_path: Path) -> None:
    """As those of Stable Diffusion 1.4: heads as one number, no scale, no kind of middle, the end token's id as 2."""
    folder = tmp_path / "sd1"
    write_diffusers(folder, models["sd1"])
    gone = ["mid_block_type", "transformer_layers_per_block", "use_linear_projection", "norm_num_groups"]
    changed(folder / "unet/config.json", lambda values: [values.pop(key) for key in gone])
    changed(folder / "unet/config.json", lambda values: values.update(attention_head_dim=8, norm_eps=1e-05))
    changed(folder / "vae/config.json", lambda values: [values.pop(key) for key in ("scaling_factor", "shift_factor")])
    changed(folder / "text_encoder/config.json", lambda values: values.update(eos_token_id=2))
    changed(folder / "model_index.json", lambda values: values.update(safety_checker=["stable_diffusion", "S"]))
    changed(
        folder / "scheduler/scheduler_config.json",
        lambda values: values.update(_class_name="PNDMScheduler", skip_prk_steps=True, trained_betas=None),
    )
    assert read(folder).config == models["sd1"].config


def test_what_it_was_trained_for_is_read_from_the_scheduler(folder: Path) -> None:
    changed(
        folder / "scheduler/scheduler_config.json",
        lambda values: values.update(prediction_type="v_prediction", rescale_betas_zero_snr=True, beta_end=0.02),
    )
    found = read(folder).config
    assert (found.prediction, found.schedule.zero_terminal_snr, found.schedule.last) == ("v_prediction", True, 0.02)


FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "pure noise"),
    ("unet/config.json", {"class_embed_type": "timestep"}, "class_embed_type = 'timestep' is not known"),
    ("unet/config.json", {"time_cond_proj_dim": 256}, "time_cond_proj_dim = 256 is not known"),
    ("unet/config.json", {"dual_cross_attention": True}, "dual_cross_attention = True is not known"),
    ("unet/config.json", {"only_cross_attention": [True, False]}, "only_cross_attention"),
    ("unet/config.json", {"mid_block_type": None}, "mid_block_type = None is not known"),
    ("unet/config.json", {"down_block_types": ["AttnDownBlock2D", "DownBlock2D"]}, "has AttnDownBlock2D"),
    ("unet/config.json", {"up_block_types": ["UpBlock2D", "UpBlock2D"]}, "does not mirror"),
    ("unet/config.json", {"attention_head_dim": [2]}, "attention_head_dim = [2] has 1 levels, not 2"),
    ("unet/config.json", {"layers_per_block": 10**9}, "layers"),
    ("unet/config.json", {"block_out_channels": [8, 2**40]}, "sizes"),
    ("unet/config.json", {"fancy_new_thing": 1}, 'unknown key "fancy_new_thing"'),
    ("unet/config.json", {"norm_num_groups": 0}, "groups = 0"),
    ("unet/config.json", {"cross_attention_dim": 16}, "unet.context = 16"),
    ("vae/config.json", {"use_quant_conv": False}, "use_quant_conv = False is not known"),
    ("vae/config.json", {"latents_mean": [0.0]}, "latents_mean"),
    ("vae/config.json", {"latent_channels": 16}, "channels"),
    ("text_encoder/config.json", {"hidden_act": "relu"}, "hidden_act = 'relu' is not one of"),
    ("text_encoder/config.json", {"num_attention_heads": 3}, "does not divide into heads = 3"),
    ("scheduler/scheduler_config.json", {"beta_schedule": "sigmoid"}, "beta_schedule = 'sigmoid' is not one of"),
    ("scheduler/scheduler_config.json", {"trained_betas": [0.1]}, "trained_betas"),
    ("scheduler/scheduler_config.json", {"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatchEuler"),
    ("model_index.json", {"_class_name": "FluxPipeline"}, "FluxPipeline is no Stable Diffusion 1, 2 or XL"),
    ("model_index.json", {"unet": ["diffusers", "UNet2DModel"]}, "unet is a UNet2DModel"),
    ("model_index.json", {"text_encoder": [None, None]}, "there is no text_encoder"),
    ("model_index.json", {"controlnet": ["diffusers", "C"]}, "controlnet is no part of a Stable Diffusion"),
    ("tokenizer/special_tokens_map.json", {"pad_token": "<nothing>"}, "pad_token = '<nothing>' is none of its tokens"),
]


@pytest.mark.parametrize(("name", "values", "message"), FAULTS)
def test_what_our_model_cannot_compute_is_refused_by_its_name(
    folder: Path, name: str, values: dict[str, Any], message: str
) -> None:
    changed(folder / name, lambda found: found.update(values))
    refused(folder, message, str(folder))


@pytest.mark.parametrize(
    "name", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json", UNET]
)
@pytest.mark.parametrize(
    "data", [b"", b"[]", b"[" * 100_000, b'{"a":' * 50_000, b"\xff{", b'{"a":' + b"9" * 5000 + b"}"]
)
def test_a_damaged_file_is_one_line_that_names_it(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    refused(folder, str(folder / name))


def test_a_missing_file_is_named(folder: Path) -> None:
    for name in ("tokenizer/merges.txt", UNET, "vae/config.json", "scheduler/scheduler_config.json"):
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        refused(folder, Path(name).name)
        (folder / name).write_bytes(data)
    assert read(folder).built() is not None


def test_towers_must_read_the_same_tokens(models: dict[str, StableDiffusion], tmp_path: Path) -> None:
    write_diffusers(tmp_path / "xl", models["sdxl"])
    vocabulary = tmp_path / "xl/tokenizer_2/vocab.json"

    def swap(values: dict[str, int]) -> None:
        values["!"], values['"'] = values['"'], values["!"]

    changed(vocabulary, swap)
    refused(tmp_path / "xl", "tokenizer_2 has other tokens")


def test_other_things_in_a_folder_are_not_written_over(folder: Path, models: dict[str, StableDiffusion]) -> None:
    write_diffusers(folder, models["tiny"])  # another model of diffusers may be
    (folder / "model_index.json").unlink()
    with pytest.raises(InputError, match="holds other things"):
        write_diffusers(folder, models["tiny"])


# ---------------------------------------------------------------------------------------------------
# Single files.


def test_every_weight_must_be_there_and_of_its_shape_and_no_other(file: Path) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        del tensors["model.diffusion_model.out.2.bias"]
        tensors["model.diffusion_model.lora.weight"] = torch.zeros(1)
        tensors["first_stage_model.quant_conv.bias"] = torch.zeros(7)

    changed(file, change)
    refused(
        file, "model.diffusion_model.out.2.bias is missing", "model.diffusion_model.lora.weight is unknown",
        "first_stage_model.quant_conv.bias is 7 where it should be 8", str(file),
    )  # fmt: skip


def test_what_other_programs_leave_beside_weights_is_passed_over(
    file: Path, models: dict[str, StableDiffusion]
) -> None:
    beside = {
        "alphas_cumprod": torch.zeros(1000), "model_ema.decay": torch.zeros(()),
        "model_ema.diffusion_modelout2bias": torch.zeros(4), "first_stage_model.loss.logvar": torch.zeros(()),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(16)[None],
        "cond_stage_model.logit_scale": torch.zeros(()),
    }  # fmt: skip
    changed(file, lambda tensors: tensors.update(beside))
    assert same(read(file).built(), models["tiny"])


def test_names_that_some_merges_shorten_are_known(file: Path, models: dict[str, StableDiffusion]) -> None:
    def shorten(tensors: dict[str, Tensor]) -> None:
        for name in [name for name in tensors if ".text_model." in name]:
            tensors[name.replace(".text_model.", ".")] = tensors.pop(name)

    changed(file, shorten)
    assert same(read(file).built(), models["tiny"])


def sd2(path: Path, **metadata: str) -> Path:
    """As it was published: with the block of OpenCLIP that is not read, and the projection behind it."""
    write_single(path, toy(SD2))
    tensors, inner = load_file(path), "cond_stage_model.model."
    last = {name: one for name, one in tensors.items() if f"{inner}transformer.resblocks.2." in name}
    tensors |= {name.replace("resblocks.2.", "resblocks.3."): torch.ones_like(one) for name, one in last.items()}
    tensors |= {f"{inner}text_projection": torch.zeros(64, 64), f"{inner}logit_scale": torch.zeros(())}
    save_file(tensors, path, metadata=metadata)
    return path


def test_of_sd_2_the_last_block_of_its_text_tower_is_not_read(tmp_path: Path) -> None:
    found = read(sd2(tmp_path / "768.safetensors"))
    assert found.config == replace(SD2, image_size=768)
    assert same(found.built(), toy(SD2))


def test_what_sd_2_predicts_is_assumed_aloud_and_may_be_said(tmp_path: Path) -> None:
    path = sd2(tmp_path / "two.safetensors")
    found = read(path)
    assert (found.config.prediction, found.config.image_size) == ("v_prediction", 768)
    assert 'put parameterization: "eps" into two.yaml' in found.assumed
    asked = read(path, prediction="epsilon")
    assert (asked.config.prediction, asked.config.image_size, asked.assumed) == ("epsilon", 512, "")
    (tmp_path / "two.yaml").write_text('model:\n  params:\n    parameterization: "eps"\n')
    assert (read(path).config.prediction, read(path).assumed) == ("epsilon", "")
    (tmp_path / "two.yaml").write_text("parameterization: epsilom")
    with pytest.raises(InputError, match=r'two\.yaml: parameterization "epsilom" is not one of v, .*eps'):
        read(path)
    (tmp_path / "two.yaml").unlink()
    sd2(path, **{"modelspec.prediction_type": "v", "modelspec.resolution": "640x640"})
    assert (read(path).config.image_size, read(path).assumed) == (640, "")


def test_sd_1_needs_no_word_and_may_have_one(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    write_single(path, toy(SD1))
    without_metadata(path)
    assert (read(path).config.prediction, read(path).assumed) == ("epsilon", "")
    tensors = load_file(path) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}  # as some trainings mark it
    save_file(tensors, path)
    assert (read(path).config.prediction, read(path).config.schedule.zero_terminal_snr) == ("v_prediction", True)


def test_a_tokenizer_lies_beside_and_its_absence_says_what_to_put_there(file: Path) -> None:
    own = file.with_suffix(".tokenizer.json")
    own.rename(file.with_name("tokenizer.json"))
    assert read(file).tokenizer.vocabulary() == words().vocabulary()
    file.with_name("tokenizer.json").unlink()
    refused(file, "bpe_simple_vocab_16e6.txt.gz", "vocab.json and merges.txt", str(file.parent))


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("conditioner.embedders.0.model.ln_final.weight", "SDXL's refiner"),
        ("edm_mean", "Playground"),
        ("control_model.time_embed.0.weight", "a ControlNet"),
    ],
)
def test_other_models_are_called_by_their_names(file: Path, name: str, what: str) -> None:
    changed(file, lambda tensors: tensors.update({name: torch.zeros(1)}))
    refused(file, what)


@pytest.mark.parametrize(
    "name", ["model.diffusion_model.middle_block.1.proj_in.weight", "first_stage_model.decoder.conv_in.weight"]
)
def test_half_a_model_is_no_model(models: dict[str, StableDiffusion], tmp_path: Path, name: str) -> None:
    file = tmp_path / "model.safetensors"
    write_single(file, models["sd1"])
    changed(file, lambda tensors: tensors.pop(name))
    refused(file, f"{name} is missing")


def test_half_a_model_is_no_model_without_our_config_either(file: Path) -> None:
    name = "model.diffusion_model.middle_block.1.proj_in.weight"
    changed(file, lambda tensors: tensors.pop(name))
    without_metadata(file)
    refused(file, f"{name} is missing")


def test_other_files_are_not_taken_for_models(file: Path, tmp_path: Path) -> None:
    assert recognise(tmp_path) is None
    assert recognise(tmp_path / "absent") is None
    other = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, other)
    assert recognise(other) is None
    refused(other, "no U-Net")
    other.write_bytes(b"PK\x03\x04" + b" " * 64)
    refused(other, "is a zip archive", "safetensors")
    file.rename(tmp_path / "odd.name")  # told by content
    (tmp_path / "model.tokenizer.json").rename(tmp_path / "tokenizer.json")
    assert recognise(tmp_path / "odd.name") == "single"


@pytest.mark.parametrize("where", ["unet", "first_stage", "text"])
def test_numbers_that_are_not_finite_are_named(file: Path, where: str) -> None:
    name = next(name for name in load_file(file) if where in name or where == "unet")
    changed(file, lambda tensors: tensors[name].view(-1)[0].fill_(float("nan")))
    refused(file, name, "not finite")


def test_a_truncated_file_is_called_so(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    assert recognise(file) is None
    refused(file, "is truncated")


def test_what_other_programs_have_no_word_for_is_not_written(tmp_path: Path) -> None:
    tower = TINY.text.towers[0]
    odd = {
        "unet.middle = 0": replace(TINY, unet=replace(TINY.unet, middle=0)),
        "layer = 1": replace(TINY, text=replace(TINY.text, towers=(replace(tower, norm=False),))),
        'prediction = "flow"': replace(TINY, prediction="flow"),
    }
    for message, config in odd.items():
        with pytest.raises(InputError, match=message):
            write_diffusers(tmp_path / "odd", toy(config))
        with pytest.raises(InputError, match=message):
            write_single(tmp_path / "odd.safetensors", toy(config))
    with pytest.raises(InputError, match=r"let it end in \.safetensors"):
        write_single(tmp_path / "odd.ckpt", toy(TINY))
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------------
# Memory.


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells how much memory was used")
def test_weights_are_mapped_and_not_copied(tmp_path: Path) -> None:
    """Of 60 MB, whose largest tensor has 5, no more than a few are in memory at once while they are looked at."""
    config = replace(SD1, unet=replace(SD1.unet, widths=(128, 384), heads=(8, 8)))
    path = tmp_path / "model.safetensors"
    write_single(path, StableDiffusion(config, words()))
    size = path.stat().st_size
    read(path)  # what is imported is imported
    grown = peak(lambda: read(path).built())
    assert size > 50 << 20
    assert grown < size / 3
    maps = Path("/proc/self/maps")
    model = read(path).built()
    assert str(path) in maps.read_text()
    assert model.unet.conv_in.weight.shape == (128, 4, 3, 3)


def peak(call: Callable[[], object]) -> int:
    """How much more memory was in use at most, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    held = call()
    grown = resident("VmHWM") - before
    assert held is not None
    return grown


def resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def test_a_hollow_model_has_shapes_and_no_memory() -> None:
    huge = replace(TINY, unet=replace(TINY.unet, widths=(1 << 18, 1 << 18)))
    with Hollow():
        model = StableDiffusion(huge, words())
    assert model.unet.down_blocks[0].resnets[0].conv1.weight.shape == (1 << 18, 1 << 18, 3, 3)
    assert isinstance(model.config, Config)


# ---------------------------------------------------------------------------------------------------
# The models that people have, by their sizes alone.

FULL = {
    "v1": (Config(), [860, 123, 84], ["model.diffusion_model.output_blocks.2.1.conv.weight"]),
    "v2": (
        Config(
            image_size=768, text=conditioning.SD2, prediction="v_prediction",
            unet=UNetConfig(heads=(5, 10, 20, 20), context=1024, linear=True),
        ),
        [866, 340, 84], ["cond_stage_model.model.transformer.resblocks.22.attn.in_proj_weight"],
    ),
    "xl": (
        Config(
            image_size=1024, text=conditioning.SDXL, vae=VAEConfig(scale=0.13025),
            unet=UNetConfig(
                widths=(320, 640, 1280), depths=(0, 2, 10), middle=10, heads=(5, 10, 20), context=2048, linear=True,
                added=2816,
            ),
        ),
        [2567, 818, 84],
        [
            "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias",
            "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight",
            "model.diffusion_model.output_blocks.2.2.conv.weight", "model.diffusion_model.label_emb.0.2.weight",
            "model.diffusion_model.input_blocks.8.1.transformer_blocks.9.attn2.to_k.weight",
        ],
    ),
}  # fmt: skip
EVERYWHERE = [
    "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight",
    "model.diffusion_model.output_blocks.8.0.skip_connection.weight", "model.diffusion_model.out.2.weight",
    "first_stage_model.decoder.up.0.block.0.nin_shortcut.weight", "first_stage_model.encoder.mid.attn_1.proj_out.bias",
]  # fmt: skip


@pytest.mark.parametrize("kind", FULL)
def test_the_sizes_of_the_models_that_people_have_are_seen_from_their_shapes(kind: str) -> None:
    config, millions, keys = FULL[kind]
    towers = tuple(replace(tower, pad=words().end if tower.pad else 0) for tower in config.text.towers)
    config = replace(config, text=replace(config.text, towers=towers))
    with Hollow():
        model = StableDiffusion(config, words())
    counts = [sum(one.numel() for one in part.parameters()) for part in (model.unet, model.conditioner, model.vae)]
    vocabulary = (49408 - words().size) * sum(tower.text.width for tower in config.text.towers)
    counts[1] += vocabulary  # ours here has fewer tokens
    assert [round(count / 1e6) for count in counts] == millions
    theirs = names.single(config).to_theirs(model.state_dict())
    expected = keys + EVERYWHERE[kind == "xl" :]
    assert {*expected} <= theirs.keys()
    shapes = {name: tuple(one.shape) for name, one in theirs.items()}
    assert singles._unet(shapes) == config.unet
    assert replace(singles._vae(shapes), scale=config.vae.scale) == config.vae
    assert singles._text(shapes, words()) == config.text
