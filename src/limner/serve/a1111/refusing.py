"""Fields of A1111's that nothing here answers to: refused by name, unless they have a value that changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel

from limner.serve.a1111.asked import Asked, Image2Image, Text2Image, Upscaling
from limner.serve.problems import Problem, invalid

NOTHING: Collection[Any] = (None, False, 0, "", [], {}, "None")
DRAWING: Mapping[str, Collection[Any]] = {
    "styles": NOTHING, "subseed_strength": NOTHING, "seed_resize_from_h": (-1, 0), "seed_resize_from_w": (-1, 0),
    "restore_faces": NOTHING, "tiling": NOTHING, "s_min_uncond": NOTHING, "s_churn": NOTHING, "s_tmax": NOTHING,
    "s_tmin": NOTHING, "s_noise": (None, 1.0), "refiner_checkpoint": NOTHING, "refiner_switch_at": (None, 0.0, 1.0),
    "script_name": NOTHING, "script_args": NOTHING, "alwayson_scripts": NOTHING, "firstpass_image": NOTHING,
    "initial_noise_multiplier": (None, 1.0),
}  # fmt: skip
ENLARGING: Mapping[str, Collection[Any]] = {
    "hr_upscaler": (None, "", "Lanczos"), "hr_second_pass_steps": (0,), "hr_resize_x": (0,), "hr_resize_y": (0,),
    "hr_checkpoint_name": (None, "", "Use same checkpoint"), "hr_sampler_name": (None, "", "Use same sampler"),
    "hr_scheduler": (None, "", "Use same scheduler"), "hr_prompt": ("",), "hr_negative_prompt": ("",),
    "firstphase_width": (0,), "firstphase_height": (0,),
}  # fmt: skip
REPAINTING: Mapping[str, Collection[Any]] = {
    "resize_mode": (0, 1), "inpainting_fill": (0, 1), "include_init_images": NOTHING, "latent_mask": NOTHING,
    "image_cfg_scale": (None, 0.0, 1.0, 1.5), "mask_round": (True,),
}  # fmt: skip
EXTRA: Mapping[str, Collection[Any]] = {
    "resize_mode": (0,), "gfpgan_visibility": (0.0,), "codeformer_visibility": (0.0,),
    "upscaler_1": ("None", "Lanczos"), "upscaler_2": ("None",),
}  # fmt: skip


def check(asked: Asked) -> None:
    """Problem that names the first field which asks for what there is not."""
    _check(asked, DRAWING)
    if isinstance(asked, Text2Image) and asked.enable_hr:
        _check(asked, ENLARGING)
    if isinstance(asked, Image2Image):
        _check(asked, REPAINTING)
        if asked.mask is not None and asked.mask_blur is None and asked.mask_blur_x != asked.mask_blur_y:
            raise _refused("mask_blur_x", "is not mask_blur_y, and masks are blurred alike in both directions")


def check_extra(asked: Upscaling) -> None:
    _check(asked, EXTRA)


def _check(asked: BaseModel, harmless: Mapping[str, Collection[Any]]) -> None:
    for name, values in harmless.items():
        value = getattr(asked, name)
        if value not in values:
            told = ", ".join(repr(one) for one in values)
            raise _refused(name, f"= {str(value)[:60]!r} cannot be done here: leave it out, or give one of {told}")


def _refused(name: str, said: str) -> Problem:
    return invalid(f"{name} {said}", param=name, code="unsupported")
