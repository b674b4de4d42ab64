"""diffusers' configs of the parts of a Stable Diffusion, to ours and from ours.

Each key has one of three fates: it is read; it must have the one value that we compute by, which is diffusers' default;
or it says nothing of what is computed. Any other key is refused by its name.
"""

from __future__ import annotations

import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from limner.codecs.vae import VAEConfig
from limner.core import check, parse
from limner.nn.unet import UNetConfig
from limner.process.diffusion import ScheduleConfig

T = TypeVar("T")
Sizes = int | tuple[int, ...]
ATTENDED, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"
MIRRORED = {ATTENDED: "CrossAttnUpBlock2D", PLAIN: "UpBlock2D"}
SIZE_WIDTH = 256  # of each of six sizes in SDXL's vector


def known(
    kind: type[T], values: Mapping[str, Any], where: str, *, only: Mapping[str, Collection[Any]],
    ignored: Collection[str],
) -> T:  # fmt: skip
    """Read a config by these fates; `only` has the values that a key may have."""
    read: dict[str, Any] = {}
    for key, value in values.items():
        if key in only:
            check(value in only[key], f"{where}: {key} = {value!r} is not known; models with {_said(only[key])} are")
        elif key not in ignored and not key.startswith("_"):
            read[key] = value
    return parse(kind, read, where)


def _said(values: Collection[Any]) -> str:
    return " or ".join(repr(one) for one in values)


def spread(value: Sizes, levels: int, key: str) -> tuple[int, ...]:
    """One for each level, of a list of them or of one for all."""
    found = (value,) * levels if isinstance(value, int) else value
    check(len(found) == levels, f"{key} = {list(found)} has {len(found)} levels, not {levels}")
    return found


# ---------------------------------------------------------------------------------------------------
# The denoiser.

NOTHING: tuple[None] = (None,)
UNET_ONLY: dict[str, Collection[Any]] = {
    "act_fn": ("silu",), "attention_type": ("default",), "center_input_sample": (False,),
    "class_embed_type": NOTHING, "class_embeddings_concat": (False,), "conv_in_kernel": (3,), "conv_out_kernel": (3,),
    "cross_attention_norm": NOTHING, "downsample_padding": (1,), "dual_cross_attention": (False,),
    "encoder_hid_dim": NOTHING, "encoder_hid_dim_type": NOTHING, "flip_sin_to_cos": (True,), "freq_shift": (0,),
    "mid_block_only_cross_attention": (None, False), "mid_block_scale_factor": (1,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",), "norm_eps": (1e-5,), "num_attention_heads": NOTHING,
    "num_class_embeds": NOTHING, "only_cross_attention": (False,), "resnet_out_scale_factor": (1.0,),
    "resnet_skip_time_act": (False,), "resnet_time_scale_shift": ("default",),
    "reverse_transformer_layers_per_block": NOTHING, "time_cond_proj_dim": NOTHING,
    "time_embedding_act_fn": NOTHING, "time_embedding_dim": NOTHING, "time_embedding_type": ("positional",),
    "timestep_post_act": NOTHING,
}  # fmt: skip
UNET_IGNORED = {"dropout", "upcast_attention", "addition_embed_type_num_heads"}


@dataclass(frozen=True, slots=True, kw_only=True)
class UNet2DConditionModel:
    sample_size: Sizes | None = None
    in_channels: int = 4
    out_channels: int = 4
    down_block_types: tuple[str, ...] = (ATTENDED, ATTENDED, ATTENDED, PLAIN)
    up_block_types: tuple[str, ...] = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    norm_num_groups: int = 32
    cross_attention_dim: int = 1280
    transformer_layers_per_block: Sizes = 1
    attention_head_dim: Sizes = 8  # the number of heads: the name is a mistake that was kept
    use_linear_projection: bool = False
    addition_embed_type: Literal["text_time"] | None = None
    addition_time_embed_dim: int | None = None
    projection_class_embeddings_input_dim: int | None = None

    def __post_init__(self) -> None:
        levels, given = len(self.block_out_channels), len(self.down_block_types)
        check(0 < levels == given, f"down_block_types has {given} levels and block_out_channels {levels}")
        for name in self.down_block_types:
            check(name in MIRRORED, f"down_block_types has {name}; {ATTENDED} and {PLAIN} are known")
        mirrored = tuple(MIRRORED[name] for name in reversed(self.down_block_types))
        check(
            self.up_block_types == mirrored, f"up_block_types = {self.up_block_types} does not mirror down_block_types"
        )

    @staticmethod
    def parse(values: Mapping[str, Any], where: str) -> UNet2DConditionModel:
        return known(UNet2DConditionModel, values, where, only=UNET_ONLY, ignored=UNET_IGNORED)

    def ours(self) -> UNetConfig:
        levels = len(self.block_out_channels)
        depths = spread(self.transformer_layers_per_block, levels, "transformer_layers_per_block")
        attended = [name == ATTENDED for name in self.down_block_types]
        return UNetConfig(
            channels_in=self.in_channels, channels_out=self.out_channels, widths=self.block_out_channels,
            blocks=self.layers_per_block, middle=depths[-1],
            depths=tuple(depth if has else 0 for depth, has in zip(depths, attended, strict=True)),
            heads=spread(self.attention_head_dim, levels, "attention_head_dim"), context=self.cross_attention_dim,
            linear=self.use_linear_projection, added=self._added(), groups=self.norm_num_groups,
        )  # fmt: skip

    def _added(self) -> int:
        if self.addition_embed_type is None:
            return 0
        each, all_ = self.addition_time_embed_dim, self.projection_class_embeddings_input_dim
        check(each == SIZE_WIDTH, f"addition_time_embed_dim = {each}; models with {SIZE_WIDTH} are known")
        check(all_ is not None, "projection_class_embeddings_input_dim is missing, the width of what is added")
        return all_ or 0

    @staticmethod
    def of(unet: UNetConfig, *, sample_size: int) -> dict[str, Any]:
        """InputError where diffusers has no such network."""
        check(unet.middle > 0, "diffusers has no such U-Net without attention in the middle: unet.middle = 0")
        check(
            unet.depths[-1] in (0, unet.middle),
            "diffusers counts the middle's transformer blocks with the last level's: unet.middle = "
            f"{unet.middle} is not {unet.depths[-1]}",
        )
        types = [ATTENDED if depth else PLAIN for depth in unet.depths]
        found = {
            "_class_name": "UNet2DConditionModel", "sample_size": sample_size, "in_channels": unet.channels_in,
            "out_channels": unet.channels_out, "down_block_types": types,
            "up_block_types": [MIRRORED[name] for name in reversed(types)],
            "mid_block_type": "UNetMidBlock2DCrossAttn", "block_out_channels": list(unet.widths),
            "layers_per_block": unet.blocks, "norm_num_groups": unet.groups, "cross_attention_dim": unet.context,
            "attention_head_dim": list(unet.heads), "use_linear_projection": unet.linear,
            "transformer_layers_per_block": [depth or 1 for depth in unet.depths[:-1]] + [unet.middle],
        }  # fmt: skip
        if unet.added:
            found |= {
                "addition_embed_type": "text_time", "addition_time_embed_dim": SIZE_WIDTH,
                "projection_class_embeddings_input_dim": unet.added,
            }  # fmt: skip
        return found


# ---------------------------------------------------------------------------------------------------
# The autoencoder.

VAE_ONLY: dict[str, Collection[Any]] = {
    "in_channels": (3,), "out_channels": (3,), "act_fn": ("silu",), "latents_mean": NOTHING, "latents_std": NOTHING,
    "use_quant_conv": (True,), "use_post_quant_conv": (True,), "mid_block_add_attention": (True,),
}  # fmt: skip
VAE_IGNORED = {"force_upcast", "sample_size"}  # the precision that is enough, and the size it was trained at


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderKL:
    block_out_channels: tuple[int, ...] = (64,)
    down_block_types: tuple[Literal["DownEncoderBlock2D"], ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[Literal["UpDecoderBlock2D"], ...] = ("UpDecoderBlock2D",)
    layers_per_block: int = 1
    latent_channels: int = 4
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215
    shift_factor: float | None = None

    def __post_init__(self) -> None:
        for name in ("down_block_types", "up_block_types"):
            given = len(getattr(self, name))
            levels = len(self.block_out_channels)
            check(given == levels, f"{name} has {given} levels and block_out_channels {levels}")

    @staticmethod
    def parse(values: Mapping[str, Any], where: str) -> AutoencoderKL:
        return known(AutoencoderKL, values, where, only=VAE_ONLY, ignored=VAE_IGNORED)

    def ours(self) -> VAEConfig:
        return VAEConfig(
            widths=self.block_out_channels, blocks=self.layers_per_block, channels=self.latent_channels,
            groups=self.norm_num_groups, scale=self.scaling_factor, shift=self.shift_factor or 0.0,
        )  # fmt: skip

    @staticmethod
    def of(vae: VAEConfig, *, sample_size: int) -> dict[str, Any]:
        levels = len(vae.widths)
        return {
            "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, "sample_size": sample_size,
            "block_out_channels": list(vae.widths), "down_block_types": ["DownEncoderBlock2D"] * levels,
            "up_block_types": ["UpDecoderBlock2D"] * levels, "layers_per_block": vae.blocks, "act_fn": "silu",
            "latent_channels": vae.channels, "norm_num_groups": vae.groups, "scaling_factor": vae.scale,
            "shift_factor": vae.shift or None, "force_upcast": True,
        }  # fmt: skip


# ---------------------------------------------------------------------------------------------------
# The noise that it was trained with, which diffusers keeps with a sampler.

Kind = Literal["scaled_linear", "linear", "squaredcos_cap_v2"]
Predicted = Literal["epsilon", "v_prediction", "sample"]
NOISE_ONLY: dict[str, Collection[Any]] = {
    "trained_betas": (None, []), "thresholding": (False,),
    "_class_name": (
        "DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler",
        "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2DiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler", "DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler",
        "DPMSolverSDEScheduler", "DEISMultistepScheduler", "UniPCMultistepScheduler", "LCMScheduler", "TCDScheduler",
    ),
}  # fmt: skip  # samplers that go by one schedule of a thousand times


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """Those of a scheduler's keys that belong to the model. The rest is the sampler's own, and is chosen anew."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: Kind = "linear"
    prediction_type: Predicted = "epsilon"
    timestep_spacing: Literal["leading", "trailing", "linspace"] | None = None
    steps_offset: int = 0
    rescale_betas_zero_snr: bool = False

    @staticmethod
    def parse(values: Mapping[str, Any], where: str) -> Scheduler:
        own = values.keys() - NOISE_ONLY.keys() - set(Scheduler.__dataclass_fields__)
        return known(Scheduler, values, where, only=NOISE_ONLY, ignored=own)

    def ours(self) -> ScheduleConfig:
        check(
            self.prediction_type != "epsilon" or not self.rescale_betas_zero_snr,
            'prediction_type = "epsilon" says nothing of pure noise, with which rescale_betas_zero_snr begins; such a '
            "model was trained for v_prediction",
        )
        return ScheduleConfig(
            kind=self.beta_schedule, first=self.beta_start, last=self.beta_end, times=self.num_train_timesteps,
            zero_terminal_snr=self.rescale_betas_zero_snr,
        )  # fmt: skip

    @staticmethod
    def of(schedule: ScheduleConfig, prediction: str) -> dict[str, Any]:
        """DDIM's, which every kind of model may be drawn with."""
        check(
            prediction in typing.get_args(Predicted),
            f'diffusers has no scheduler for prediction = "{prediction}"; it has for epsilon, say',
        )
        return {
            "_class_name": "DDIMScheduler", "num_train_timesteps": schedule.times, "beta_start": schedule.first,
            "beta_end": schedule.last, "beta_schedule": schedule.kind, "prediction_type": prediction,
            "rescale_betas_zero_snr": schedule.zero_terminal_snr, "steps_offset": 1, "clip_sample": False,
            "timestep_spacing": "trailing" if schedule.zero_terminal_snr else "leading", "set_alpha_to_one": False,
        }  # fmt: skip
