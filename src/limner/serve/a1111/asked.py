"""What may be asked in A1111's words. What is left out is the model's own usual value."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from limner.pipeline import MOST_SEED
from limner.serve import caps
from limner.serve.orders import MOST_PICTURES

Prompt = Annotated[str, Field(max_length=caps.PROMPT)]
Short = Annotated[str, Field(max_length=200)]
Side = Annotated[int, Field(ge=1, le=caps.SIDE)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Asked(BaseModel):
    """What both ways of drawing have in common. For what is refused unless it changes nothing, see refusing.py."""

    model_config = ConfigDict(extra="forbid", strict=True)
    initial: ClassVar[bool] = False

    prompt: Prompt = ""
    negative_prompt: Prompt = ""
    seed: int = Field(-1, ge=-1, le=MOST_SEED - MOST_PICTURES)
    sampler_name: Short | None = None
    sampler_index: Short | None = Field(None, description="An old name of sampler_name, which comes first.")
    scheduler: Short | None = None
    batch_size: int = Field(1, ge=1, le=MOST_PICTURES)
    n_iter: int = Field(1, ge=1, le=MOST_PICTURES)
    steps: int | None = Field(None, ge=1, le=caps.STEPS)
    cfg_scale: float | None = Field(None, ge=0, le=100, allow_inf_nan=False)
    width: Side | None = None
    height: Side | None = None
    denoising_strength: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    eta: Number | None = None
    override_settings: dict[str, Any] = Field(default_factory=dict)
    send_images: bool = True

    # Of no consequence: nothing is saved where these would have it, and everything is kept in any case.
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    save_images: bool = False
    override_settings_restore_afterwards: bool = True
    disable_extra_networks: bool = False
    comments: dict[str, Any] | None = None
    force_task_id: Short | None = None
    infotext: Prompt | None = None
    initial_noise_multiplier: Number | None = None

    # What there is no doing of: see refusing.py.
    styles: list[str] | None = None
    subseed: int = -1
    subseed_strength: Number = 0.0
    seed_resize_from_h: int = -1
    seed_resize_from_w: int = -1
    restore_faces: bool | None = None
    tiling: bool | None = None
    s_min_uncond: Number | None = None
    s_churn: Number | None = None
    s_tmax: Number | None = None
    s_tmin: Number | None = None
    s_noise: Number | None = None
    refiner_checkpoint: Short | None = None
    refiner_switch_at: Number | None = None
    script_name: Short | None = None
    script_args: list[Any] = Field(default_factory=list)
    alwayson_scripts: dict[str, Any] = Field(default_factory=dict)
    firstpass_image: str | None = None

    @property
    def count(self) -> int:
        return self.batch_size * self.n_iter


class Text2Image(Asked):
    """POST txt2img. With `enable_hr` what was drawn is enlarged and drawn once more."""

    enable_hr: bool = False
    hr_scale: float = Field(2.0, ge=1, le=16, allow_inf_nan=False)
    hr_upscaler: Short | None = None
    hr_second_pass_steps: int = 0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_checkpoint_name: Short | None = None
    hr_sampler_name: Short | None = None
    hr_scheduler: Short | None = None
    hr_prompt: Prompt = ""
    hr_negative_prompt: Prompt = ""
    firstphase_width: int = 0
    firstphase_height: int = 0


class Image2Image(Asked):
    """POST img2img. What is white in the mask is painted."""

    initial: ClassVar[bool] = True

    init_images: list[Annotated[str, Field(max_length=caps.BODY)]] | None = None
    mask: Annotated[str, Field(max_length=caps.BODY)] | None = None
    resize_mode: int = Field(0, ge=0, le=3)
    mask_blur: int | None = Field(None, ge=0, le=64)
    mask_blur_x: int = Field(4, ge=0, le=64)
    mask_blur_y: int = Field(4, ge=0, le=64)
    mask_round: bool = True
    inpainting_fill: int = Field(0, ge=0, le=3)
    inpaint_full_res: bool = True
    inpaint_full_res_padding: int = Field(0, ge=0, le=caps.SIDE)
    inpainting_mask_invert: int = Field(0, ge=0, le=1)
    include_init_images: bool = False
    image_cfg_scale: Number | None = None
    latent_mask: str | None = None


class Upscaling(BaseModel):
    """POST extra-single-image."""

    model_config = ConfigDict(extra="forbid", strict=True)

    image: Annotated[str, Field(max_length=caps.BODY)]
    resize_mode: int = Field(0, ge=0, le=1)
    show_extras_results: bool = True
    gfpgan_visibility: Number = 0.0
    codeformer_visibility: Number = 0.0
    codeformer_weight: Number = 0.0
    upscaling_resize: float = Field(2.0, ge=0.1, le=8, allow_inf_nan=False)
    upscaling_resize_w: Side = 512
    upscaling_resize_h: Side = 512
    upscaling_crop: bool = True
    upscaler_1: Short = "None"
    upscaler_2: Short = "None"
    extras_upscaler_2_visibility: Number = 0.0
    upscale_first: bool = False


class PngInfo(BaseModel):
    """POST png-info."""

    model_config = ConfigDict(extra="forbid", strict=True)

    image: Annotated[str, Field(max_length=caps.BODY)]
