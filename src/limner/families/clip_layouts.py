"""CLIPs in other programs' files: those of OpenAI, of open_clip and of transformers, read and written.

Strictly: a weight that is missing or unknown, and a part that our CLIP has not, is an InputError of one line.
Weights are safetensors; a pickle is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from limner.core import InputError, check, parse, unparse
from limner.families import WithoutInitialising
from limner.families.clip import CLIP, Config, Triple
from limner.nn.prenorm import PreNormConfig
from limner.store import atomic_write
from limner.store.documents import read_json
from limner.store.folder import MANIFEST
from limner.store.layouts import Layout, replacing
from limner.store.weights import check_match, dump, load
from limner.text import clip_layouts
from limner.text.clip import ClipTextConfig
from limner.text.clip_layouts import (
    LARGEST,
    TOKENIZER,
    TransformersText,
    TransformersTower,
    check_end,
    read_tokenizer,
    said_of,
)
from limner.text.ended import Ended, EndedTokenizer

MEAN, SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of OpenAI's pictures
OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
TRANSFORMERS_CONFIG, TRANSFORMERS_WEIGHTS = "config.json", "model.safetensors"
PREPROCESSING = "preprocessor_config.json"


# ---------------------------------------------------------------------------------------------------
# Reading and writing.


def holds_foreign(path: Path) -> bool:
    """Whether there is a CLIP of another program, and not a model of ours."""
    return _is_open_clip(path) or _is_transformers(path) or _is_bare(path)


def weights(path: Path) -> Path:
    """The file of weights of what `holds_foreign` found."""
    if _is_bare(path):
        return path
    return path / (OPEN_CLIP_WEIGHTS if _is_open_clip(path) else TRANSFORMERS_WEIGHTS)


def read_foreign(path: Path) -> CLIP:
    """The CLIP in a folder of open_clip or transformers, or in OpenAI's weights, a file; in evaluation mode.

    Beside the weights there must be the tokenizer: a tokenizer.json, or OpenAI's list of merges.
    """
    tokenizer = read_tokenizer(path if path.is_dir() else path.parent)
    if _is_open_clip(path):
        return _read_open_clip(path, tokenizer)
    return _read_transformers(path, tokenizer) if _is_transformers(path) else _read_openai(path, tokenizer)


def write_foreign(folder: Path, clip: CLIP, program: Literal["open_clip", "transformers"]) -> None:
    """Put a CLIP of ours where another program finds it: weights, configs and tokenizer.json.

    Its `most_scale` is lost, which is of use in training alone.
    """
    words = clip.text.tokenizer
    templated = words.templated() if isinstance(words, Ended) else words
    if program == "open_clip":
        check_end(LARGEST, words, folder)
    parts = _as_open_clip(clip) if program == "open_clip" else _as_transformers(clip)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in {**parts, TOKENIZER: templated.to_json().encode()}.items():
        atomic_write(folder / name, data)


def _read_open_clip(path: Path, tokenizer: EndedTokenizer) -> CLIP:
    where, values = path / OPEN_CLIP_CONFIG, read_json(path / OPEN_CLIP_CONFIG)
    about = values.get("preprocess_cfg") or {}
    theirs = parse(OpenClip, values.get("model_cfg") or {}, f"{where}: model_cfg")
    check_end(LARGEST, tokenizer, where)
    pixels = Pixels.parse(about.get("mean"), about.get("std"), f"{where}: preprocess_cfg")
    with said_of(where):
        config = theirs.ours(pixels)
    return _filled(config, tokenizer, OPEN_CLIP, weights(path))


def _read_transformers(path: Path, tokenizer: EndedTokenizer) -> CLIP:
    where = path / TRANSFORMERS_CONFIG
    about = read_json(path / PREPROCESSING) if (path / PREPROCESSING).is_file() else {}
    theirs = Transformers.parse(read_json(where), str(where))
    check_end(theirs.text_config.eos_token_id, tokenizer, where)
    pixels = Pixels.parse(about.get("image_mean"), about.get("image_std"), str(path / PREPROCESSING))
    with said_of(where):
        config = theirs.ours(pixels)
    return _filled(config, tokenizer, TRANSFORMERS, weights(path))


def _read_openai(path: Path, tokenizer: EndedTokenizer) -> CLIP:
    tensors = load(path)
    if not OPEN_CLIP.constants & tensors.keys():
        raise InputError(
            f"{path} may be OpenAI's or open_clip's, which compute differently; "
            f"put the model's {OPEN_CLIP_CONFIG} beside it and name the folder"
        )
    check_end(LARGEST, tokenizer, path)
    with said_of(path):
        config = OpenClip.of_weights(tensors).ours(Pixels())
    return _filled(config, tokenizer, OPEN_CLIP, path)


def _as_open_clip(clip: CLIP) -> dict[str, bytes]:
    config = clip.config
    about = {
        "model_cfg": unparse(OpenClip.of(config, clip.text.tokenizer.size)),
        "preprocess_cfg": {"mean": list(config.mean), "std": list(config.spread)},
    }
    return {OPEN_CLIP_CONFIG: _dumped(about), OPEN_CLIP_WEIGHTS: dump(OPEN_CLIP.to_theirs(clip.state_dict()))}


def _as_transformers(clip: CLIP) -> dict[str, bytes]:
    config, side = clip.config, clip.config.image_size
    theirs = unparse(Transformers.of(config, clip.text.tokenizer))
    preprocessing = {
        "image_processor_type": "CLIPImageProcessor", "image_mean": list(config.mean), "image_std": list(config.spread),
        "resample": 3, "size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side},
    }  # fmt: skip
    return {
        TRANSFORMERS_CONFIG: _dumped({"model_type": "clip", "architectures": ["CLIPModel"], **theirs}),
        TRANSFORMERS_WEIGHTS: dump(TRANSFORMERS.to_theirs(clip.state_dict())),
        PREPROCESSING: _dumped(preprocessing),
    }


def _filled(config: Config, tokenizer: EndedTokenizer, layout: Layout, file: Path) -> CLIP:
    with WithoutInitialising():
        clip = CLIP(config, tokenizer)
    ours = clip.state_dict()
    tensors = layout.weights(load(file))
    check_match(f"{file} and its config do not belong together", layout.to_theirs(ours), tensors)
    found = layout.to_ours(tensors, ours)
    clip.load_state_dict({name: found[name].to(one.dtype) for name, one in ours.items()}, assign=True)
    return clip.eval()


def _is_open_clip(path: Path) -> bool:
    return (path / OPEN_CLIP_CONFIG).is_file()


def _is_transformers(path: Path) -> bool:
    return (path / TRANSFORMERS_CONFIG).is_file() and read_json(path / TRANSFORMERS_CONFIG).get("model_type") == "clip"


def _is_bare(path: Path) -> bool:
    """Weights alone, and not those in a model folder of ours."""
    return path.suffix == ".safetensors" and not (path.parent / MANIFEST).is_file()


def _dumped(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()


# ---------------------------------------------------------------------------------------------------
# Other programs' models: the names that they give to weights.


OPEN_CLIP = Layout(  # and OpenAI's
    replacing(
        {
            **clip_layouts.OPEN_CLIP, "vision.patches": "visual.conv1", "vision.token": "visual.class_embedding",
            "vision.place": "visual.positional_embedding", "vision.before": "visual.ln_pre",
            "vision.after": "visual.ln_post", "vision.blocks": "visual.transformer.resblocks",
            "vision.project.weight": "visual.proj", "scale": "logit_scale",
        }
    ),
    transposed=("text_projection", "visual.proj"),
    constants=frozenset({"input_resolution", "context_length", "vocab_size"}),
)  # fmt: skip
TRANSFORMERS = Layout(
    replacing(
        {
            **clip_layouts.TRANSFORMERS, "vision.patches": "vision_model.embeddings.patch_embedding",
            "vision.token": "vision_model.embeddings.class_embedding", "vision.before": "vision_model.pre_layrnorm",
            "vision.place": "vision_model.embeddings.position_embedding.weight",
            "vision.after": "vision_model.post_layernorm", "vision.blocks": "vision_model.encoder.layers",
            "vision.project": "visual_projection", "scale": "logit_scale",
        }
    ),
    constants=frozenset({"text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"}),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------
# Their configs: what they write down, with the defaults of what they leave out.


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What pixels from 0 to 1 are normalised by: OpenAI's numbers where a file is silent."""

    mean: Triple = MEAN
    std: Triple = SPREAD

    @staticmethod
    def parse(mean: Any, std: Any, where: str) -> Pixels:
        return parse(Pixels, {key: one for key, one in {"mean": mean, "std": std}.items() if one is not None}, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenClipVision:
    layers: int = 12
    width: int = 768
    head_width: int = 64
    mlp_ratio: float = 4.0
    patch_size: int = 16
    image_size: int = 224

    def __post_init__(self) -> None:
        check(self.head_width > 0, f"head_width = {self.head_width} must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenClipText:
    context_length: int = 77
    vocab_size: int = 49408
    width: int = 512
    heads: int = 8
    layers: int = 12
    mlp_ratio: float = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenClip:
    """The `model_cfg` of open_clip_config.json. A key that is not here names a part that this CLIP has not."""

    embed_dim: int
    vision_cfg: OpenClipVision
    text_cfg: OpenClipText
    quick_gelu: bool = False

    def ours(self, pixels: Pixels) -> Config:
        vision, text = self.vision_cfg, self.text_cfg
        return Config(
            image_size=vision.image_size, patch=vision.patch_size, embedding=self.embed_dim, mean=pixels.mean,
            spread=pixels.std, activation="quick_gelu" if self.quick_gelu else "gelu",
            vision=PreNormConfig(
                vision.width, vision.layers, vision.width // vision.head_width, int(vision.width * vision.mlp_ratio)
            ),
            text=ClipTextConfig(
                text.width, text.layers, text.heads, int(text.width * text.mlp_ratio), text.context_length
            ),
        )  # fmt: skip

    @staticmethod
    def of(config: Config, vocabulary: int) -> OpenClip:
        vision, text = config.vision, config.text
        return OpenClip(
            embed_dim=config.embedding, quick_gelu=config.activation == "quick_gelu",
            vision_cfg=OpenClipVision(
                layers=vision.depth, width=vision.width, head_width=vision.width // vision.heads,
                mlp_ratio=_ratio(vision), patch_size=config.patch, image_size=config.image_size,
            ),
            text_cfg=OpenClipText(
                context_length=text.length, vocab_size=vocabulary, width=text.width, heads=text.heads,
                layers=text.depth, mlp_ratio=_ratio(text),
            ),
        )  # fmt: skip

    @staticmethod
    def of_weights(tensors: Mapping[str, Tensor]) -> OpenClip:
        """What OpenAI's own files leave to be seen from the shapes; heads are 64 wide, the activation is QuickGELU."""
        try:
            width, _, patch, _ = tensors["visual.conv1.weight"].shape
            side = math.isqrt(len(tensors["visual.positional_embedding"]) - 1)
            text, embedding = tensors["text_projection"].shape
            length, vocabulary = len(tensors["positional_embedding"]), len(tensors["token_embedding.weight"])
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"it is not a CLIP of OpenAI's with a vision transformer: {error}") from None
        depths = [sum(name.startswith(one) and name.endswith("in_proj_bias") for name in tensors) for one in "vt"]
        return OpenClip(
            embed_dim=embedding, quick_gelu=True,
            vision_cfg=OpenClipVision(layers=depths[0], width=width, patch_size=patch, image_size=patch * side),
            text_cfg=OpenClipText(
                context_length=length, vocab_size=vocabulary, width=text, heads=text // 64, layers=depths[1]
            ),
        )  # fmt: skip


def _ratio(tower: PreNormConfig) -> float:
    """What open_clip multiplies the width by, and rounds down: for some sizes the quotient falls just short."""
    ratio = tower.hidden / tower.width
    return ratio if int(tower.width * ratio) == tower.hidden else math.nextafter(ratio, math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformersVision(TransformersTower):
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_attention_heads: int = 12
    image_size: int = 224
    patch_size: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformers:
    """Those keys of transformers' config.json that this CLIP computes by."""

    vision_config: TransformersVision
    text_config: TransformersText
    projection_dim: int = 512

    def __post_init__(self) -> None:
        pictures, texts = self.vision_config.hidden_act, self.text_config.hidden_act
        check(pictures == texts, f'hidden_act is "{pictures}" for pictures and "{texts}" for texts; make them one')

    @staticmethod
    def parse(values: Mapping[str, Any], where: str) -> Transformers:
        """Its many other keys say nothing of the mathematics. A `text_config_dict` stands for `text_config`."""
        towers: dict[str, Any] = {}
        for name, kind in (("vision_config", TransformersVision), ("text_config", TransformersText)):
            given = values.get(f"{name}_dict") or values.get(name) or {}
            towers[name] = {one.name: given[one.name] for one in fields(kind) if one.name in given}
        rest = {key: values[key] for key in ("projection_dim",) if key in values}
        return parse(Transformers, {**towers, **rest}, where)

    def ours(self, pixels: Pixels) -> Config:
        vision, text = self.vision_config, self.text_config
        return Config(
            image_size=vision.image_size, patch=vision.patch_size, embedding=self.projection_dim, mean=pixels.mean,
            spread=pixels.std, activation=vision.hidden_act,
            vision=PreNormConfig(
                vision.hidden_size, vision.num_hidden_layers, vision.num_attention_heads, vision.intermediate_size
            ),
            text=text.ours(),
        )  # fmt: skip

    @staticmethod
    def of(config: Config, tokenizer: EndedTokenizer) -> Transformers:
        vision = config.vision
        return Transformers(
            projection_dim=config.embedding,
            vision_config=TransformersVision(
                hidden_size=vision.width, intermediate_size=vision.hidden, num_hidden_layers=vision.depth,
                num_attention_heads=vision.heads, hidden_act=config.activation, image_size=config.image_size,
                patch_size=config.patch,
            ),
            text_config=TransformersText.of(config.text, config.activation, tokenizer),
        )  # fmt: skip
