"""The names of a Stable Diffusion's weights in other programs' files: in diffusers' folders, and in the single files
of the original code.

Our U-Net and autoencoder have diffusers' names (`unet.`, `vae.`), the text towers our own (`conditioner.towers.0.`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from limner.families.stable_diffusion import Config
from limner.nn.unet import UNetConfig
from limner.store.layouts import Layout, Rename, replacing
from limner.text import clip_layouts

UNET, VAE, LESSONS = "unet.", "vae.", "lessons."  # the last are of training alone, and stay with us
SINGLE_UNET, SINGLE_VAE = "model.diffusion_model.", "first_stage_model."
CLIP_L, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."  # Stable Diffusion 1's and 2's
XL_CLIP_L, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
POSITIONS = "text_model.embeddings.position_ids"
BUFFERS = frozenset(
    {
        "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod", "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod",
        "posterior_variance", "posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2",
        "logvar", "lvlb_weights", "scale_factor", "denoiser.sigmas", "denoiser.log_sigmas", "v_pred", "ztsnr",
        "model_ema.", "first_stage_model.loss.", "first_stage_model.model_ema.",
    }
)  # fmt: skip  # of training, and the schedule, which the config states


def tower(number: int) -> str:
    return f"conditioner.towers.{number}."


# ---------------------------------------------------------------------------------------------------
# diffusers' folders.


def text_encoder(*, projected: bool) -> Layout:
    """A text_encoder folder's, of the names that we have behind `tower`."""
    names = replacing(clip_layouts.TRANSFORMERS)
    unused = set() if projected else {"text_projection.weight"}
    return Layout(lambda name: names(f"text.{name}"), constants=frozenset({POSITIONS} | unused))


def as_it_is() -> Layout:
    return Layout(lambda name: name)


def whole(name: str) -> str:
    """A text tower's with the beginning that transformers leaves out since 5.6."""
    return name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}"


OLDER = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}


def renewed(name: str) -> str:
    """An autoencoder's by the names that diffusers gives since 0.18."""
    for old, new in OLDER.items():
        name = name.replace(f".mid_block.attentions.0{old}", f".mid_block.attentions.0{new}")
    return name


# ---------------------------------------------------------------------------------------------------
# Single files.


def single(config: Config) -> Layout:
    """Of a whole model. One tower is SD 1's CLIP, or SD 2's where the U-Net is `linear`; two are SDXL's."""
    parts: dict[str, tuple[str, Rename]] = {
        UNET: (SINGLE_UNET, original_unet(config.unet)),
        VAE: (SINGLE_VAE, original_vae(levels=len(config.vae.widths))),
    }
    for number, prefix in enumerate(single_towers(config)):
        names = replacing(clip_layouts.TRANSFORMERS if prefix in (CLIP_L, XL_CLIP_L) else clip_layouts.OPEN_CLIP)
        parts[tower(number)] = (prefix, lambda name, names=names: names(f"text.{name}"))

    def rename(name: str) -> str:
        for ours, (theirs, inner) in parts.items():
            if name.startswith(ours):
                return theirs + inner(name.removeprefix(ours))
        raise AssertionError(name)

    matrices = tuple(f".mid.attn_1.{one}.weight" for one in ("q", "k", "v", "proj_out"))
    return Layout(rename, transposed=(".text_projection",), pointwise=matrices, constants=BUFFERS | clips())


def single_towers(config: Config) -> list[str]:
    if len(config.text.towers) == 2:
        return [XL_CLIP_L, XL_OPEN_CLIP]
    return [OPEN_CLIP if config.unet.linear else CLIP_L]


def clips() -> frozenset[str]:
    """What CLIPs carry that no picture is drawn with."""
    positions = {f"{prefix}{POSITIONS}" for prefix in (CLIP_L, XL_CLIP_L)}
    unused = {f"{prefix}text_projection.weight" for prefix in (CLIP_L, XL_CLIP_L)}
    scales = {f"{prefix}logit_scale" for prefix in (OPEN_CLIP, XL_OPEN_CLIP, CLIP_L, XL_CLIP_L)}
    scales |= {"cond_stage_model.logit_scale", "cond_stage_model.text_projection"}
    masks = {f"{prefix}attn_mask" for prefix in (OPEN_CLIP, XL_OPEN_CLIP)}
    return frozenset(positions | unused | scales | masks)


RESIDUAL = {
    "norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "time_emb_proj.": "emb_layers.1.", "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.", "conv_shortcut.": "skip_connection.",
}  # fmt: skip
UNET_EDGES = {
    "time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.": "time_embed.2.",
    "add_embedding.linear_1.": "label_emb.0.0.", "add_embedding.linear_2.": "label_emb.0.2.",
    "conv_in.": "input_blocks.0.0.", "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
}  # fmt: skip


def original_unet(unet: UNetConfig) -> Rename:
    """The original counts all blocks of a way through, with the halvings on the way down among them."""
    stride, levels = unet.blocks + 1, len(unet.depths)

    def down(level: int, kind: str, number: int, rest: str) -> str:
        if kind == "downsamplers":
            return f"input_blocks.{(level + 1) * stride}.0.op.{rest.removeprefix('conv.')}"
        return f"input_blocks.{1 + level * stride + number}.{_inner(kind, rest)}"

    def up(place: int, kind: str, number: int, rest: str) -> str:
        if kind == "upsamplers":
            behind = 2 if unet.depths[levels - 1 - place] else 1
            return f"output_blocks.{(place + 1) * stride - 1}.{behind}.{rest}"
        return f"output_blocks.{place * stride + number}.{_inner(kind, rest)}"

    def rename(name: str) -> str:
        if found := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name):
            way, level, kind, number, rest = found.groups()
            return {"down": down, "up": up}[way](int(level), kind, int(number), rest)
        if found := re.fullmatch(r"mid_block\.(\w+)\.(\d+)\.(.+)", name):
            kind, number, rest = found.groups()
            return f"middle_block.{2 * int(number) if kind == 'resnets' else 1}.{_inner(kind, rest).split('.', 1)[1]}"
        return _begun(name, UNET_EDGES)

    return rename


def _inner(kind: str, rest: str) -> str:
    """A residual block is the first layer of its place, and attention the second, whose inside has the same names."""
    return f"0.{_begun(rest, RESIDUAL)}" if kind == "resnets" else f"1.{rest}"


def _begun(name: str, pairs: Mapping[str, str]) -> str:
    """Whichever of `pairs` it begins with replaced."""
    for ours, theirs in pairs.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


VAE_PARTS = {
    ".mid_block.resnets.0.": ".mid.block_1.", ".mid_block.resnets.1.": ".mid.block_2.",
    ".mid_block.attentions.0.": ".mid.attn_1.", ".group_norm.": ".norm.", ".to_q.": ".q.", ".to_k.": ".k.",
    ".to_v.": ".v.", ".to_out.0.": ".proj_out.", ".conv_norm_out.": ".norm_out.", ".conv_shortcut.": ".nin_shortcut.",
    ".resnets.": ".block.", ".downsamplers.0.": ".downsample.", ".upsamplers.0.": ".upsample.",
    ".down_blocks.": ".down.",
}  # fmt: skip


def original_vae(*, levels: int) -> Rename:
    """The original counts the decoder's levels from the finest."""
    names = replacing(VAE_PARTS)

    def rename(name: str) -> str:
        return re.sub(r"\.up_blocks\.(\d+)\.", lambda found: f".up.{levels - 1 - int(found[1])}.", names(name))

    return rename
