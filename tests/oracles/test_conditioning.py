"""What a denoiser is told, against diffusers, transformers and open_clip with the same random weights."""

from __future__ import annotations

import gzip
import itertools
import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limner.families import WithoutInitialising
from limner.families.clip_layouts import OPEN_CLIP, TRANSFORMERS, Layout
from limner.text.clip import ClipText
from limner.text.conditioning import (
    CLIP_L,
    OPEN_CLIP_BIG_G,
    OPEN_CLIP_H,
    SD1,
    SD2,
    SDXL,
    Conditioner,
    ConditionerConfig,
    TowerConfig,
    embed_sizes,
)
from limner.text.ended import Templated
from tests.oracles.comparing import error, scrambled

pytest.importorskip("ftfy")
pytest.importorskip("regex")
WITHIN = 1e-5  # relative error in float32
TEXTS = [
    "a red square",
    "two small stars above a big moon in a night sky",
    "",
    "It's  the\tdog's\n 2nd BALL, caf\u00e9",
]
NEGATIVE = "blurry, ugly"


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def diffusers(transformers: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("diffusers")


@pytest.fixture(scope="module")
def words(open_clip: Any) -> Templated:
    """CLIP's own 49,408 tokens."""
    with gzip.open(Path(open_clip.__file__).with_name("bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8") as lines:
        return Templated.from_merges(lines)


# ---------------------------------------------------------------------------------------------------
# Our towers with their weights.


def small(config: TowerConfig, *, depth: int = 3) -> TowerConfig:
    """The same conventions in a small tower."""
    text = replace(config.text, width=32, depth=depth, heads=4, hidden=64)
    return replace(config, text=text, out=24 if config.out else 0)


def filled(tower: nn.Module, layout: Layout, theirs: Mapping[str, Tensor]) -> None:
    """Give a tower of ours the weights of theirs, without copying more than must be stacked."""
    names = [f"text.{name}" for name in tower.state_dict()]
    found = layout.to_ours(theirs, names)
    tower.load_state_dict({name.removeprefix("text."): one for name, one in found.items()}, assign=True)


def names_of_transformers(model: nn.Module) -> dict[str, Tensor]:
    """The tower's weights as files name them; without a projection the model itself leaves out the beginning."""
    whole = ("text_model.", "text_projection.")
    return {name if name.startswith(whole) else f"text_model.{name}": one for name, one in model.state_dict().items()}


def of_transformers(transformers: Any, config: TowerConfig) -> Any:
    text = config.text
    theirs = transformers.CLIPTextConfig(
        hidden_size=text.width, intermediate_size=text.hidden, num_hidden_layers=text.depth,
        num_attention_heads=text.heads, max_position_embeddings=text.length, vocab_size=49408, eos_token_id=49407,
        hidden_act=config.activation, projection_dim=config.out or 512,
    )  # fmt: skip
    kind = transformers.CLIPTextModelWithProjection if config.out else transformers.CLIPTextModel
    return kind(theirs).eval()


def of_open_clip(open_clip: Any, config: TowerConfig) -> nn.Module:
    text = config.text
    about = {
        "context_length": text.length, "vocab_size": 49408, "width": text.width, "heads": text.heads,
        "layers": text.depth, "mlp_ratio": text.hidden / text.width,
    }  # fmt: skip
    tower: nn.Module = open_clip.model._build_text_tower(config.out, about, quick_gelu=config.activation != "gelu")
    return tower.eval()


def ours_of(config: TowerConfig, words: Templated) -> ClipText:
    with WithoutInitialising():
        return ClipText(config.text, words, out=config.out, activation=config.activation).eval()


def rows(words: Templated, pad: int) -> Tensor:
    ids, mask = words.encode(TEXTS, 77)
    whole = torch.full((len(TEXTS), 77), pad)
    whole[:, : ids.shape[1]] = ids.where(mask, pad)
    return whole


# ---------------------------------------------------------------------------------------------------
# States.


def check_transformers(theirs: Any, config: TowerConfig, words: Templated, *, layers: Iterable[int]) -> None:
    """These layers, from the end, with the final norm and without."""
    ours, ids = ours_of(config, words), rows(words, config.pad)
    filled(ours, TRANSFORMERS, names_of_transformers(theirs))
    wanted = theirs(ids, output_hidden_states=True)
    for layer in layers:
        tokens, pooled = ours.states(ids, layer=layer, norm=False)
        assert error(tokens, wanted.hidden_states[-layer]) < WITHIN
        assert error(ours.states(ids, layer=layer)[0], ours.norm(wanted.hidden_states[-layer])) < WITHIN
    assert error(ours.states(ids)[0], wanted.last_hidden_state) < WITHIN
    if config.out:
        assert error(pooled, wanted.text_embeds) < WITHIN
        assert error(ours.pool(ids), wanted.text_embeds) < WITHIN
    else:
        assert pooled is None


def check_open_clip(theirs: nn.Module, config: TowerConfig, words: Templated) -> None:
    """The states before the last block, and the features."""
    ours, ids = ours_of(config, words), rows(words, config.pad)
    filled(ours, OPEN_CLIP, theirs.state_dict())
    seen: list[Tensor] = []
    blocks: Any = theirs.get_submodule("transformer.resblocks")
    blocks[-2].register_forward_hook(lambda module, given, found: seen.append(found))
    features = theirs(ids)
    tokens, pooled = ours.states(ids, layer=2, norm=False)
    assert error(tokens, seen[0]) < WITHIN
    assert error(ours.states(ids, layer=2)[0], theirs.get_submodule("ln_final")(seen[0])) < WITHIN
    assert pooled is not None
    assert error(pooled, features) < WITHIN


@pytest.mark.parametrize("config", [*SD1.towers, *SD2.towers, *SDXL.towers])
@torch.no_grad()
def test_states_are_those_of_transformers(transformers: Any, words: Templated, config: TowerConfig) -> None:
    tower = small(config)
    theirs = scrambled(of_transformers(transformers, tower))
    check_transformers(theirs, tower, words, layers=range(1, tower.text.depth + 1))


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
@torch.no_grad()
def test_states_are_those_of_open_clip(open_clip: Any, words: Templated, activation: Any) -> None:
    tower = small(replace(SDXL.towers[1], activation=activation))
    check_open_clip(scrambled(of_open_clip(open_clip, tower)), tower, words)


FULL = {
    "L": SD1.towers[0],
    "H": replace(SD2.towers[0], text=replace(OPEN_CLIP_H, depth=24), out=1024),
    "bigG": SDXL.towers[1],
}


@pytest.mark.full_size
@pytest.mark.parametrize("name", FULL)
@torch.no_grad()
def test_states_are_those_of_transformers_at_full_size(transformers: Any, words: Templated, name: str) -> None:
    with WithoutInitialising():
        theirs = of_transformers(transformers, FULL[name])
    check_transformers(drawn(theirs), FULL[name], words, layers=[FULL[name].layer])


@pytest.mark.full_size
@pytest.mark.parametrize("name", ["H", "bigG"])
@torch.no_grad()
def test_states_are_those_of_open_clip_at_full_size(open_clip: Any, words: Templated, name: str) -> None:
    with WithoutInitialising():
        theirs = of_open_clip(open_clip, FULL[name])
    check_open_clip(drawn(theirs), FULL[name], words)


def drawn(model: nn.Module) -> nn.Module:
    """Weights of about the size that trained ones have."""
    for name, one in model.named_parameters():
        spread = 0.5 * (3.0 / one.shape[-1]) ** 0.5 if one.ndim == 2 else 0.1
        one.uniform_(-spread, spread)
        if ("norm" in name or "ln_" in name) and name.endswith("weight"):
            one.add_(1.0)
    return model


def test_the_sizes_are_those_that_open_clip_knows(open_clip: Any) -> None:
    for name, text, depth in (
        ("ViT-H-14", OPEN_CLIP_H, 24),
        ("ViT-bigG-14", OPEN_CLIP_BIG_G, 32),
        ("ViT-L-14", CLIP_L, 12),
    ):
        theirs = open_clip.get_model_config(name)["text_cfg"]
        assert (theirs["width"], theirs["heads"], theirs["layers"]) == (text.width, text.heads, depth)
        assert (theirs["context_length"], theirs["vocab_size"], 4 * theirs["width"]) == (77, 49408, text.hidden)


# ---------------------------------------------------------------------------------------------------
# Prompts to what the denoiser is told.


def clip_tokenizer(transformers: Any, words: Templated, pad: str) -> Any:
    model = json.loads(words.to_json())["model"]
    merges = [tuple(one) for one in model["merges"]]
    return transformers.CLIPTokenizer(vocab=model["vocab"], merges=merges, pad_token=pad, model_max_length=77)


def pads(config: ConditionerConfig) -> list[str]:
    return ["<|endoftext|>" if tower.pad else "!" for tower in config.towers]  # "!" is token 0


def conditioner(config: ConditionerConfig, words: Templated, models: list[nn.Module]) -> Conditioner:
    built = Conditioner(config, words).eval()
    for tower, theirs in zip(built.towers, models, strict=True):
        filled(tower, TRANSFORMERS, names_of_transformers(theirs))
    return built


@pytest.mark.parametrize("model", [SD1, SD2])
@torch.no_grad()
def test_one_tower_s_prompts_are_those_of_diffusers(
    diffusers: Any, transformers: Any, words: Templated, model: ConditionerConfig
) -> None:
    config = ConditionerConfig(tuple(map(small, model.towers)))
    theirs = scrambled(of_transformers(transformers, config.towers[0]))
    ours = conditioner(config, words, [theirs])
    pipe = diffusers.StableDiffusionPipeline(
        vae=None, text_encoder=theirs, tokenizer=clip_tokenizer(transformers, words, *pads(config)), unet=None,
        scheduler=None, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    for prompt, negative in itertools.product(TEXTS, (NEGATIVE, "")):
        found = ours.guided(prompt, negative)
        wanted = pipe.encode_prompt(prompt, "cpu", 1, True, negative)
        assert found.pooled is None
        assert error(found.tokens, torch.cat(wanted)) < WITHIN
    ids = pipe.tokenizer(TEXTS, padding="max_length", return_tensors="pt").input_ids
    skipped = theirs.final_layer_norm(theirs(ids, output_hidden_states=True).hidden_states[-2])  # its clip_skip is 1
    assert error(ours(TEXTS, clip_skip=2).tokens, skipped) < WITHIN


@torch.no_grad()
def test_two_towers_prompts_are_those_of_diffusers(diffusers: Any, transformers: Any, words: Templated) -> None:
    config = replace(SDXL, towers=tuple(map(small, SDXL.towers)))
    theirs = [scrambled(of_transformers(transformers, tower)) for tower in config.towers]
    ours = conditioner(config, words, theirs)
    tokenizers = [clip_tokenizer(transformers, words, pad) for pad in pads(config)]
    pipe = diffusers.StableDiffusionXLPipeline(
        vae=None, text_encoder=theirs[0], text_encoder_2=theirs[1], tokenizer=tokenizers[0], tokenizer_2=tokenizers[1],
        unet=None, scheduler=None, force_zeros_for_empty_prompt=True, add_watermarker=False,
    )  # fmt: skip
    for prompt, negative, skip in itertools.product(TEXTS, (NEGATIVE, ""), (1, 2)):
        found = ours.guided(prompt, negative, clip_skip=skip)
        # It counts skipped blocks from none, which is 0, and skips none for a negative prompt.
        wanted = pipe.encode_prompt(prompt, device="cpu", negative_prompt=negative or None, clip_skip=skip - 1)
        assert error(found.tokens[:1], wanted[0]) < WITHIN
        assert found.pooled is not None
        assert error(found.pooled[:1], wanted[2]) < WITHIN
        assert error(found.pooled[1:], wanted[3]) < WITHIN if negative else not wanted[3].any()
        if negative and skip == 1:
            assert error(found.tokens[1:], wanted[1]) < WITHIN
        if not negative:
            assert not found.tokens[1].any()
            assert not found.pooled[1].any()
            assert not wanted[1].any()


def test_pieces_and_padding_are_those_of_transformers_and_open_clip(
    transformers: Any, open_clip: Any, words: Templated
) -> None:
    texts = [*TEXTS, "10,000 x 12.5%", "ひまわり نجمة привет", "word " * 75, "[c] (d:1.2)", "a &lt;b&gt;", "stop!!"]
    by_end, by_zero = (clip_tokenizer(transformers, words, pad) for pad in ("<|endoftext|>", "!"))
    for text in texts:
        around = [words.start, *words.pieces(text), words.end]
        by_pad = {pad: around + [pad] * (77 - len(around)) for pad in (49407, 0)}
        assert open_clip.tokenize(text)[0].tolist() == by_pad[0]
        if "&" not in text:  # transformers leaves it as it is
            assert by_end(text, padding="max_length").input_ids == by_pad[49407]
        if "&" not in text and "!" not in text:  # which is a padding token in a text, too, for transformers
            assert by_zero(text, padding="max_length").input_ids == by_pad[0]


def test_sizes_are_those_of_diffusers(diffusers: Any) -> None:
    sizes = torch.tensor([[1024.0, 768, 0, 16, 512, 640], [1, 2, 3, 4, 5, 2048]])
    pooled = torch.randn(2, 1280)
    waves = diffusers.models.embeddings.Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=0)
    wanted = torch.cat([pooled, waves(sizes.flatten()).reshape(2, -1)], dim=-1)
    assert error(embed_sizes(pooled, sizes), wanted) < WITHIN
