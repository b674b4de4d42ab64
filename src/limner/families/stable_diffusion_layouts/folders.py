"""Folders of diffusers: model_index.json, and a folder with a config and weights for each part of the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from limner.core import InputError, check, unparse
from limner.families.stable_diffusion import Config
from limner.families.stable_diffusion_layouts import names
from limner.families.stable_diffusion_layouts.configs import AutoencoderKL, Scheduler, UNet2DConditionModel
from limner.families.stable_diffusion_layouts.stored import Part, StoredForeign, plausible
from limner.store import shards
from limner.store.documents import read_json
from limner.store.files import replaced_folder, write_synced
from limner.store.layouts import Layout, Rename
from limner.store.shards import SUFFIX
from limner.store.weights import write_file
from limner.text.clip_layouts import TransformersText, check_end, read_tokenizer, said_of, transformers_tokenizer
from limner.text.conditioning import ConditionerConfig, TowerConfig
from limner.text.ended import Templated

INDEX, CONFIG, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
UNET_WEIGHTS, TEXT_WEIGHTS = "diffusion_pytorch_model", "model"
ONE_TOWER, TWO_TOWERS = "StableDiffusion", "StableDiffusionXL"
TASKS = ("Pipeline", "Img2ImgPipeline", "InpaintPipeline")
PIPELINES = {**{ONE_TOWER + one: 1 for one in TASKS}, **{TWO_TOWERS + one: 2 for one in TASKS}}  # and text towers
PARTS = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
TEXTS = [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")]
PLAIN, PROJECTED = "CLIPTextModel", "CLIPTextModelWithProjection"
IGNORED = {  # what looks at finished pictures, or marks them
    "safety_checker", "feature_extractor", "image_encoder", "requires_safety_checker", "add_watermarker",
}  # fmt: skip
OLDEST = "0.21.0"  # of diffusers' versions, those that know all that is written here
ZEROS = "force_zeros_for_empty_prompt"
PAD = "pad_token"


def holds_folder(path: Path) -> bool:
    return (path / INDEX).is_file()


# ---------------------------------------------------------------------------------------------------
# Reading.


def read_folder(path: Path, *, variant: str) -> StoredForeign:
    index = read_json(path / INDEX)
    count = _towers(path / INDEX, index)
    unet_at, vae_at, noise_at = path / "unet" / CONFIG, path / "vae" / CONFIG, path / "scheduler" / SCHEDULER
    denoiser = UNet2DConditionModel.parse(read_json(unet_at), str(unet_at))
    autoencoder = AutoencoderKL.parse(read_json(vae_at), str(vae_at))
    noise = Scheduler.parse(read_json(noise_at), str(noise_at))
    tokenizer = read_tokenizer(path / "tokenizer")
    towers = tuple(_tower(path, number, index, tokenizer) for number in range(count))
    with said_of(noise_at):
        schedule = noise.ours()
    with said_of(vae_at):
        vae = autoencoder.ours()
    with said_of(unet_at):
        config = Config(
            image_size=_side(denoiser.sample_size) * vae.factor, unet=denoiser.ours(), vae=vae,
            text=ConditionerConfig(towers, zeros=count == 2 and index.get(ZEROS) is not False), schedule=schedule,
            prediction=noise.prediction_type,
        )  # fmt: skip
    parts = [
        _part(path / "unet", UNET_WEIGHTS, names.UNET, names.as_it_is(), variant),
        _part(path / "vae", UNET_WEIGHTS, names.VAE, names.as_it_is(), variant, names.renewed),
    ]
    for number, tower in enumerate(towers):
        layout = names.text_encoder(projected=tower.out > 0)
        parts.append(_part(path / TEXTS[number][0], TEXT_WEIGHTS, names.tower(number), layout, variant, names.whole))
    plausible(config, sum(len(part.tensors) for part, _ in parts), path)
    files = tuple(file for _, found in parts for file in found)
    return StoredForeign(path, "diffusers", config, tokenizer, tuple(part for part, _ in parts), files)


def _towers(where: Path, index: Mapping[str, Any]) -> int:
    """How many text towers the pipeline has; InputError if it is another's, or has other parts."""
    pipeline = index.get("_class_name")
    if not isinstance(pipeline, str) or pipeline not in PIPELINES:
        raise InputError(
            f"{where}: {str(pipeline)[:60]} is no Stable Diffusion 1, 2 or XL; known: {', '.join(PIPELINES)}"
        )
    count = PIPELINES[pipeline]
    texts = [name for pair in TEXTS[:count] for name in pair]
    for name in [*PARTS, *texts, "scheduler"]:
        match index.get(name):
            case [str(), str(kind)]:
                wanted = PARTS.get(name, kind)
                check(kind == wanted, f"{where}: {name} is a {kind}; models with a {wanted} are known")
            case _:
                raise InputError(f"{where}: there is no {name}, without which no picture is drawn: take a whole model")
    strange = [
        name
        for name, value in index.items()
        if name not in {*PARTS, *texts, "scheduler", *IGNORED, ZEROS} and name[:1] != "_" and value != [None, None]
    ]
    check(not strange, f"{where}: {', '.join(strange[:3])} is no part of a Stable Diffusion that is known here")
    return count


def _tower(path: Path, number: int, index: Mapping[str, Any], tokenizer: Templated) -> TowerConfig:
    """One tower reads its last block through the final norm; of two each reads the last but one, as it is."""
    name, words = TEXTS[number]
    where, kind, two = path / name / CONFIG, index[name][1], PIPELINES[index["_class_name"]] == 2
    check(kind in (PLAIN, PROJECTED), f"{path / INDEX}: {name} is a {kind}; models with a {PLAIN} are known")
    values = read_json(where)
    theirs = TransformersText.parse(values, str(where))
    out = values.get("projection_dim", 512) if kind == PROJECTED and two else 0
    check(type(out) is int and out >= 0, f"{where}: projection_dim = {out!r} is no width")
    if out:
        check_end(theirs.eos_token_id, tokenizer, where)
    pad = _pad(path / words, tokenizer)
    if number > 0:  # the first has the tokenizer itself
        _check_alike(path / words, tokenizer)
    with said_of(where):
        return TowerConfig(theirs.ours(), theirs.hidden_act, pad, 2 if two else 1, not two, out)


def _check_alike(folder: Path, tokenizer: Templated) -> None:
    """All folders must read text alike."""
    check(
        read_tokenizer(folder).vocabulary() == tokenizer.vocabulary(),
        f"{folder} has other tokens than {folder.with_name('tokenizer')}; models whose towers read the same are known",
    )


def _pad(folder: Path, tokenizer: Templated) -> int:
    """The id of the token that the folder pads with."""
    given: Any = None
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if given is None and (folder / name).is_file():
            given = read_json(folder / name).get(PAD)
    word = given.get("content") if isinstance(given, dict) else given
    if word is None:
        return tokenizer.end
    number = tokenizer.number(word) if isinstance(word, str) else None
    if number is None:
        raise InputError(f"{folder}: {PAD} = {word!r} is none of its tokens; copy the tokenizer again")
    return number


def _side(size: Any) -> int:
    found = size if isinstance(size, int) else min(size or (64,))
    return int(found)


def _part(
    folder: Path, stem: str, ours: str, layout: Layout, variant: str, rename: Rename = str
) -> tuple[Part, tuple[Path, ...]]:  # fmt: skip
    found = shards.read(shards.find(folder, stem, variant=variant))
    tensors = layout.weights({rename(name): one for name, one in found.tensors.items()})
    return Part(folder, ours, layout, tensors), found.files


# ---------------------------------------------------------------------------------------------------
# Writing.


def write_folder(folder: Path, config: Config, tokenizer: Templated, tensors: Mapping[str, Tensor]) -> None:
    """All of it or nothing, in the place of another such folder."""
    check_replaceable(folder)
    files = _documents(config, tokenizer)
    weights = {
        f"unet/{UNET_WEIGHTS}": (names.UNET, names.as_it_is()), f"vae/{UNET_WEIGHTS}": (names.VAE, names.as_it_is()),
    }  # fmt: skip
    for number, tower in enumerate(config.text.towers):
        layout = names.text_encoder(projected=tower.out > 0)
        weights[f"{TEXTS[number][0]}/{TEXT_WEIGHTS}"] = (names.tower(number), layout)
    with replaced_folder(folder) as aside:
        for name, data in files.items():
            (aside / name).parent.mkdir(exist_ok=True)
            write_synced(aside / name, data)
        for name, (ours, layout) in weights.items():
            inner = {key.removeprefix(ours): one for key, one in tensors.items() if key.startswith(ours)}
            write_file(aside / f"{name}{SUFFIX}", layout.to_theirs(inner), metadata={"format": "pt"})


def _documents(config: Config, tokenizer: Templated) -> dict[str, bytes]:
    """All files but the weights, by their names within the folder."""
    check_towers(config)
    side = config.image_size // config.vae.factor
    kinds = {name: ["diffusers", kind] for name, kind in PARTS.items()}
    jsons: dict[str, Any] = {
        f"unet/{CONFIG}": UNet2DConditionModel.of(config.unet, sample_size=side),
        f"vae/{CONFIG}": AutoencoderKL.of(config.vae, sample_size=config.image_size),
        f"scheduler/{SCHEDULER}": Scheduler.of(config.schedule, config.prediction),
    }
    files: dict[str, bytes] = {}
    for tower, (name, words) in zip(config.text.towers, TEXTS, strict=False):
        jsons[f"{name}/{CONFIG}"] = _text_config(tower, tokenizer)
        kind, own = transformers_tokenizer(tokenizer, pad=tower.pad, length=tower.text.length)
        files |= {f"{words}/{file}": data for file, data in own.items()}
        kinds |= {name: ["transformers", PROJECTED if tower.out else PLAIN], words: ["transformers", kind]}
    jsons[INDEX] = _index(config, kinds)
    return files | {name: (json.dumps(one, indent=2) + "\n").encode() for name, one in jsons.items()}


def check_replaceable(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not holds_folder(folder):
        raise InputError(f"{folder} holds other things than a model of diffusers; name another folder")
    check(not folder.is_file(), f"{folder} is a file; name a folder for the model")


def check_towers(config: Config) -> None:
    """How many text towers there are tells other programs how they are read."""
    towers = config.text.towers
    check(len(towers) <= 2, f"other programs know no model with {len(towers)} text towers")
    layer, norm = (2, False) if len(towers) == 2 else (1, True)
    for tower in towers:
        check(
            (tower.layer, tower.norm) == (layer, norm),
            f"other programs read {len(towers)} text tower(s) with layer = {layer} and norm = {norm}, not with "
            f"layer = {tower.layer} and norm = {tower.norm}",
        )


def _text_config(tower: TowerConfig, tokenizer: Templated) -> dict[str, Any]:
    return {
        "architectures": [PROJECTED if tower.out else PLAIN], "model_type": "clip_text_model",
        "projection_dim": tower.out or tower.text.width, "bos_token_id": tokenizer.start, "pad_token_id": tower.pad,
        **unparse(TransformersText.of(tower.text, tower.activation, tokenizer)),
    }  # fmt: skip


def _index(config: Config, kinds: Mapping[str, list[str]]) -> dict[str, Any]:
    two = len(config.text.towers) == 2
    empty = ["feature_extractor", "image_encoder"] + ([] if two else ["safety_checker"])
    return {
        "_class_name": (TWO_TOWERS if two else ONE_TOWER) + ("InpaintPipeline" if config.repaints else "Pipeline"),
        "_diffusers_version": OLDEST,
        **{name: [None, None] for name in empty},
        **({ZEROS: config.text.zeros} if two else {"requires_safety_checker": False}),
        "scheduler": ["diffusers", "DDIMScheduler"], **kinds,
    }  # fmt: skip
