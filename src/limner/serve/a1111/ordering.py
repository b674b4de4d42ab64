"""From A1111's words to an order."""

from __future__ import annotations

import secrets
from typing import Any

from limner.core import check, nearest
from limner.serve import caps
from limner.serve.a1111 import refusing, repainting, samplers
from limner.serve.a1111.asked import Asked, Image2Image, Text2Image
from limner.serve.catalogue import Catalogue, Model
from limner.serve.orders import MOST_PICTURES, Order
from limner.serve.problems import invalid

PREVIEWS = 4  # of each picture, for who asks for its progress
USUAL_STRENGTH = 0.75  # of img2img
SETTINGS = ("sd_model_checkpoint", "CLIP_stop_at_last_layers")


def order(asked: Asked, catalogue: Catalogue, chosen: str | None) -> Order:
    """`chosen` is the model of POST options. Problem or InputError where it cannot be drawn."""
    refusing.check(asked)
    _check_settings(asked.override_settings)
    model = catalogue.find(_checkpoint(asked.override_settings.get("sd_model_checkpoint")) or chosen)
    check(
        asked.count <= MOST_PICTURES,
        f"batch_size times n_iter is {asked.count}, and at most {MOST_PICTURES} pictures are drawn for one request",
    )
    found = Order(
        model=model.name, prompt=asked.prompt, negative_prompt=asked.negative_prompt, count=asked.count,
        seed=secrets.randbelow(2**32) if asked.seed == -1 else asked.seed, knobs=_knobs(asked, model),
        size=size(asked, model), previews=PREVIEWS, upscale=_upscale(asked), strength=_strength(asked, model),
        feather=repainting.blur(asked) if isinstance(asked, Image2Image) and asked.mask is not None else None,
    )  # fmt: skip
    caps.check_order(found, model)
    return found


def size(asked: Asked, model: Model) -> tuple[int, int] | None:
    """(height, width), or None where neither is given; one of them alone goes with the model's own."""
    if asked.width is None and asked.height is None:
        return None
    return asked.height or model.side, asked.width or model.side


def _knobs(asked: Asked, model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word, knob in (("steps", "steps"), ("cfg_scale", "guidance")):
        value = getattr(asked, word)
        if value is not None:
            if not model.has(knob):
                raise invalid(f"{model.name} has no {word}: leave it out", param=word)
            found[knob] = value
    name = asked.sampler_name or asked.sampler_index
    if name is not None:
        found["solver"] = samplers.solver(model, name)
    if asked.scheduler not in samplers.AUTOMATIC and asked.scheduler is not None:
        found["spacing"] = samplers.spacing(model, asked.scheduler)
    if asked.eta is not None and model.has("eta"):  # of samplers that draw fresh noise, and no others
        found["eta"] = asked.eta
    layers = asked.override_settings.get("CLIP_stop_at_last_layers", 1)
    if layers != 1:
        if not model.has("clip_skip"):
            raise invalid(f"{model.name} has no layers to stop at", param="CLIP_stop_at_last_layers")
        found["clip_skip"] = layers
    model.check_knobs(found)
    return found


def _strength(asked: Asked, model: Model) -> float | None:
    if isinstance(asked, Image2Image):
        if not model.has("strength"):
            raise invalid(f"{model.name} draws from the prompt alone, and not over images", param="init_images")
        return USUAL_STRENGTH if asked.denoising_strength is None else asked.denoising_strength
    return asked.denoising_strength if isinstance(asked, Text2Image) and asked.enable_hr else None


def _upscale(asked: Asked) -> float:
    return asked.hr_scale if isinstance(asked, Text2Image) and asked.enable_hr else 1.0


def _check_settings(settings: dict[str, Any]) -> None:
    for name in settings:
        hint = nearest(name, SETTINGS)
        if name not in SETTINGS:
            raise invalid(f"override_settings: there is no setting {name[:100]!r} here{hint}", param=name[:100])


def _checkpoint(name: object) -> str | None:
    """A1111 adds the hash: "name [0123456789]"."""
    if name is None:
        return None
    if not isinstance(name, str):
        raise invalid("sd_model_checkpoint is no name", param="sd_model_checkpoint")
    return name.partition(" [")[0].removesuffix(".safetensors")
