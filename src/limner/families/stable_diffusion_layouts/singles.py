"""Single files in the layout of the original code, told by what is in them: Stable Diffusion 1, 2 and XL.

The sizes of a model are seen from the shapes of its weights; what is not seen there (heads, activations, the scale of
latents) is the same for all models of a kind. A file of ours says it in its metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from limner.codecs.vae import VAEConfig
from limner.core import InputError, check, parse, unparse
from limner.families.stable_diffusion import Config
from limner.families.stable_diffusion_layouts import names
from limner.families.stable_diffusion_layouts.folders import check_towers
from limner.families.stable_diffusion_layouts.names import OPEN_CLIP, SINGLE_UNET, SINGLE_VAE, XL_CLIP_L, XL_OPEN_CLIP
from limner.families.stable_diffusion_layouts.stored import Part, Prediction, StoredForeign, plausible
from limner.nn.unet import UNetConfig
from limner.process.diffusion import ScheduleConfig
from limner.store import atomic_write, shards
from limner.store.documents import decode
from limner.store.files import written_aside
from limner.store.folder import MANIFEST
from limner.store.weights import Header, header, write
from limner.text.clip import ClipTextConfig
from limner.text.clip_layouts import OPENAI_MERGES, find_tokenizer, said_of, tokenizer_at
from limner.text.conditioning import ConditionerConfig, TowerConfig
from limner.text.ended import Templated

Shapes = Mapping[str, tuple[int, ...]]
FIRST = f"{SINGLE_UNET}input_blocks.0.0.weight"
OURS, PREDICTION, RESOLUTION = "limner.config", "modelspec.prediction_type", "modelspec.resolution"
V: Prediction = "v_prediction"
EPSILON: Prediction = "epsilon"
PREDICTIONS: Mapping[str, Prediction] = {"v": V, V: V, EPSILON: EPSILON, "eps": EPSILON}
HEAD = 64  # numbers of a head, but in the U-Net of SD 1, which has 8 heads everywhere
MOST_TEXT = 1 << 20  # bytes of a .yaml
FOREIGN = {  # keys of models that are kept in the same layout, and are others
    "conditioner.embedders.0.model.ln_final.weight": "is SDXL's refiner",
    "edm_mean": "is Playground 2.5",
    "edm_vpred.sigma_max": "is a model of continuous times",
    f"{SINGLE_UNET}joint_blocks.0.context_block.adaLN_modulation.1.bias": "is Stable Diffusion 3",
    f"{SINGLE_UNET}double_blocks.0.img_attn.norm.key_norm.scale": "is FLUX",
    "control_model.time_embed.0.weight": "is a ControlNet",
}


def holds_single(path: Path) -> bool:
    """Whether a file has the original layout's first weight of a U-Net, whatever the file's name."""
    if not path.is_file() or (path.parent / MANIFEST).is_file():
        return False
    try:
        return FIRST in header(path).tensors
    except InputError:
        return False


# ---------------------------------------------------------------------------------------------------
# Reading.


def read_single(path: Path, *, prediction: Prediction | None) -> StoredForeign:
    about = header(path)
    shapes = {_whole(name): shape for name, (_, shape) in about.tensors.items()}
    for key, what in FOREIGN.items():
        check(key not in shapes, f"{path} {what}, which is no Stable Diffusion 1, 2 or XL base: take one of these")
    tokenizer = _tokenizer(path)
    try:
        with said_of(path):
            config, assumed = _config(path, about, shapes, tokenizer, prediction)
    except (KeyError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no whole Stable Diffusion: {_missing(error)}; take a whole model") from None
    layout = names.single(plausible(config, len(shapes), path))
    unread = _unread(shapes)
    found = layout.weights({_whole(name): one for name, one in shards.read(path).tensors.items()})
    tensors = {name: one for name, one in found.items() if not name.startswith(unread)}
    return StoredForeign(path, "single", config, tokenizer, (Part(path, "", layout, tensors),), (path,), assumed)


def _missing(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else "a weight of it has an unknown shape"


def _whole(name: str) -> str:
    """Some merges leave a part of SD 1's names out."""
    short = f"{names.CLIP_L}{{}}"
    for part in ("embeddings.", "encoder.", "final_layer_norm."):
        if name.startswith(short.format(part)):
            return name.replace(names.CLIP_L, f"{names.CLIP_L}text_model.", 1)
    return name


def _unread(shapes: Shapes) -> tuple[str, ...]:
    """SD 2 reads all blocks of OpenCLIP but the last: files that have it have the projection behind it too."""
    if f"{OPEN_CLIP}text_projection" not in shapes:
        return ("\0",)
    last = _count(shapes, rf"{re.escape(OPEN_CLIP)}transformer\.resblocks\.(\d+)\.") - 1
    return (f"{OPEN_CLIP}transformer.resblocks.{last}.", f"{OPEN_CLIP}text_projection")


@dataclass(frozen=True, slots=True)
class Says:
    """What a file, or a .yaml beside it, says that cannot be seen from weights."""

    prediction: Prediction | None
    side: int | None
    zero_terminal_snr: bool

    @staticmethod
    def of(path: Path, about: Header) -> Says:
        beside = path.with_suffix(".yaml")
        text = beside.read_bytes()[:MOST_TEXT].decode(errors="replace") if beside.is_file() else ""
        found = re.search(r"""^\s*parameterization:\s*["']?(\w+)""", text, re.MULTILINE)
        check(
            found is None or found[1] in PREDICTIONS,
            f'{beside}: parameterization "{found and found[1]}" is not one of {", ".join(PREDICTIONS)}',
        )
        word = about.metadata.get(PREDICTION) or (found and found[1]) or (V if "v_pred" in about.tensors else "")
        size = re.fullmatch(r"(\d{2,5})x\d{2,5}", about.metadata.get(RESOLUTION, ""))
        return Says(PREDICTIONS.get(word), int(size[1]) // HEAD * HEAD if size else None, "ztsnr" in about.tensors)


def _config(
    path: Path, about: Header, shapes: Shapes, tokenizer: Templated, prediction: Prediction | None
) -> tuple[Config, str]:
    """Our config, and what of it is assumed."""
    if OURS in about.metadata:
        config = _own(path, about.metadata[OURS])
        return (replace(config, prediction=prediction) if prediction else config), ""
    says = Says.of(path, about)
    unet, text = _unet(shapes), _text(shapes, tokenizer)
    two, vae = len(text.towers) == 2, _vae(shapes)
    given, ambiguous = prediction or says.prediction, unet.linear and not two
    repaints = unet.channels_in > vae.channels
    predicted: Prediction = given or (V if ambiguous and not repaints else EPSILON)
    side = says.side or (1024 if two else 768 if predicted == V and ambiguous else 512)
    config = Config(
        image_size=side, unet=unet, vae=replace(vae, scale=0.13025) if two else vae, text=text, prediction=predicted,
        schedule=ScheduleConfig(zero_terminal_snr=says.zero_terminal_snr),
    )  # fmt: skip
    return config, "" if given or not ambiguous else _assumption(path, predicted, side)


def _assumption(path: Path, predicted: Prediction, side: int) -> str:
    word = {V: "eps", EPSILON: "v"}[predicted]
    return (
        f"{path.name} does not say what it predicts: {predicted} at {side} pixels is assumed; if its pictures are "
        f'noise, put parameterization: "{word}" into {path.stem}.yaml beside it'
    )


def _own(path: Path, text: str) -> Config:
    """What `write_single` wrote."""
    where = f"{path}: {OURS} in its metadata"
    try:
        values = decode(text.encode(errors="replace"))
    except ValueError as error:
        raise InputError(f"{where} is not JSON ({error}); copy it again") from None
    check(isinstance(values, dict), f"{where} is no object; copy it again")
    config = parse(Config, values, where)
    check(config.learning is None, f"{where} is of a model in training; write it anew")
    return config


# ---------------------------------------------------------------------------------------------------
# Sizes from shapes.


def _count(shapes: Shapes, pattern: str) -> int:
    """The numbers that the pattern finds are counted from 0 on."""
    found = {int(match[1]) for name in shapes if (match := re.match(pattern, name))}
    check(found == set(range(len(found))), f"of {pattern} some are missing")
    return len(found)


def _unet(shapes: Shapes) -> UNetConfig:
    def count(pattern: str) -> int:
        return _count(shapes, re.escape(SINGLE_UNET) + pattern)

    def shape(name: str) -> tuple[int, ...]:
        return shapes[f"{SINGLE_UNET}{name}"]

    places = count(r"input_blocks\.(\d+)\.")
    halvings = [place for place in range(places) if f"{SINGLE_UNET}input_blocks.{place}.0.op.weight" in shapes]
    blocks = halvings[0] - 1 if halvings else places - 1
    firsts = range(1, places, blocks + 1)  # of each level
    depths = tuple(count(rf"input_blocks\.{place}\.1\.transformer_blocks\.(\d+)\.") for place in firsts)
    widths = tuple(shape(f"input_blocks.{place}.0.out_layers.3.weight")[0] for place in firsts)
    into, inner = shape("middle_block.1.proj_in.weight"), shape("middle_block.1.transformer_blocks.0.attn2.to_k.weight")
    linear = len(into) == 2
    added = f"{SINGLE_UNET}label_emb.0.0.weight"
    return UNetConfig(
        channels_in=shape("input_blocks.0.0.weight")[1], channels_out=shape("out.2.weight")[0], widths=widths,
        blocks=blocks, depths=depths, middle=count(r"middle_block\.1\.transformer_blocks\.(\d+)\."),
        heads=tuple(width // HEAD if linear else 8 for width in widths), context=inner[1], linear=linear,
        added=shapes[added][1] if added in shapes else 0,
    )  # fmt: skip


def _vae(shapes: Shapes) -> VAEConfig:
    encoder = f"{re.escape(SINGLE_VAE)}encoder"
    levels = _count(shapes, rf"{encoder}\.down\.(\d+)\.")
    return VAEConfig(
        widths=tuple(shapes[f"{SINGLE_VAE}encoder.down.{level}.block.0.conv2.weight"][0] for level in range(levels)),
        blocks=_count(shapes, rf"{encoder}\.down\.0\.block\.(\d+)\."),
        channels=shapes[f"{SINGLE_VAE}decoder.conv_in.weight"][1],
    )  # fmt: skip


def _text(shapes: Shapes, tokenizer: Templated) -> ConditionerConfig:
    """Of SD 2's tower see `_unread`."""
    if f"{XL_OPEN_CLIP}ln_final.weight" in shapes:
        out = shapes[f"{XL_OPEN_CLIP}text_projection"][1]
        towers = _clip_l(shapes, XL_CLIP_L, tokenizer), replace(_open_clip(shapes, XL_OPEN_CLIP), out=out)
        return ConditionerConfig(tuple(replace(tower, layer=2, norm=False) for tower in towers), zeros=True)
    if f"{OPEN_CLIP}ln_final.weight" in shapes:
        unread = f"{OPEN_CLIP}text_projection" in shapes
        return ConditionerConfig((_open_clip(shapes, OPEN_CLIP, unread=unread),))
    return ConditionerConfig((_clip_l(shapes, names.CLIP_L, tokenizer),))


def _clip_l(shapes: Shapes, prefix: str, tokenizer: Templated) -> TowerConfig:
    inner = f"{prefix}text_model."
    length, width = shapes[f"{inner}embeddings.position_embedding.weight"]
    depth = _count(shapes, rf"{re.escape(inner)}encoder\.layers\.(\d+)\.")
    hidden = shapes[f"{inner}encoder.layers.0.mlp.fc1.weight"][0]
    text = ClipTextConfig(width, depth, max(width // HEAD, 1), hidden, length)
    return TowerConfig(text, "quick_gelu", pad=tokenizer.end)


def _open_clip(shapes: Shapes, prefix: str, *, unread: int = 0) -> TowerConfig:
    length, width = shapes[f"{prefix}positional_embedding"]
    depth = _count(shapes, rf"{re.escape(prefix)}transformer\.resblocks\.(\d+)\.") - unread
    hidden = shapes[f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"][0]
    return TowerConfig(ClipTextConfig(width, depth, max(width // HEAD, 1), hidden, length))


def _tokenizer(path: Path) -> Templated:
    """Single files carry none: it lies beside, under the file's name if it is the file's own."""
    own = path.with_suffix(".tokenizer.json")
    if own.is_file():
        return tokenizer_at(own)
    found = find_tokenizer(path.parent)
    if found is None:
        raise InputError(
            f"{path} carries no tokenizer, as no single file does: put CLIP's into {path.parent}, "
            f"{OPENAI_MERGES} of OpenAI's or open_clip, or vocab.json and merges.txt of a folder of diffusers"
        )
    return found


# ---------------------------------------------------------------------------------------------------
# Writing.


def write_single_file(file: Path, config: Config, tokenizer: Templated, tensors: Mapping[str, Tensor]) -> None:
    """All of it or nothing. The tokenizer goes beside it, since the layout has no place for one."""
    check(config.unet.middle > 0, "the layout has no U-Net without attention in the middle: unet.middle = 0")
    check(
        config.prediction in (V, EPSILON),
        f'the layout knows no prediction = "{config.prediction}": {V} and {EPSILON} are known',
    )
    check_towers(config)
    file.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(file) as aside:
        write(aside, names.single(config).to_theirs(tensors), metadata=_metadata(config))
    atomic_write(file.with_suffix(".tokenizer.json"), tokenizer.to_json().encode())


def _metadata(config: Config) -> dict[str, str]:
    """For other programs by the standard of modelspec, and for us all that shapes do not tell."""
    v, side = config.prediction == V, config.image_size
    one = "v2-768-v" if v else "v2-512"
    kind = "xl-v1-base" if len(config.text.towers) == 2 else one if config.unet.linear else "v1"
    return {
        "format": "pt", "modelspec.sai_model_spec": "1.0.1", RESOLUTION: f"{side}x{side}",
        "modelspec.architecture": f"stable-diffusion-{kind}{'/inpainting' if config.repaints else ''}",
        PREDICTION: "v" if v else EPSILON, OURS: json.dumps(unparse(config)),
    }  # fmt: skip
