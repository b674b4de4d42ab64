"""From OpenAI's words to an order."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

from PIL import Image
from pydantic import BaseModel

from limner.serve import caps
from limner.serve.catalogue import Catalogue, Model
from limner.serve.ledger import Idempotency
from limner.serve.openai.asked import Asked, Editing, Generation, Variation
from limner.serve.orders import Order
from limner.serve.problems import invalid

WORDS = {"num_inference_steps": "steps", "guidance_scale": "guidance"}


def generation(asked: Generation, catalogue: Catalogue) -> Order:
    """Problem or InputError where it cannot be drawn."""
    model = catalogue.find(asked.model)
    _check(asked)
    order = Order(
        model=model.name, prompt=asked.prompt, negative_prompt=asked.negative_prompt or "", seed=_seed(asked.seed),
        count=asked.n or 1, knobs=_knobs(asked, model), size=_size(asked.size), previews=_previews(asked),
    )  # fmt: skip
    caps.check_order(order, model)
    return order


def edit(asked: Editing, catalogue: Catalogue, *, masked: bool) -> Order:
    """The same, over an image; with a mask, what is not painted comes back as it was."""
    model = _redrawing(catalogue.find(asked.model))
    _check(asked)
    order = Order(
        model=model.name, prompt=asked.prompt, negative_prompt=asked.negative_prompt or "", seed=_seed(asked.seed),
        count=asked.n or 1, knobs=_knobs(asked, model), size=_size(asked.size), previews=_previews(asked),
        strength=asked.strength, exact=masked,
    )  # fmt: skip
    caps.check_order(order, model)
    return order


def variation(asked: Variation, catalogue: Catalogue) -> Order:
    """The image drawn anew without a word."""
    model = _redrawing(catalogue.find(asked.model))
    order = Order(
        model=model.name, prompt="", seed=_seed(asked.seed), count=asked.n or 1, size=_size(asked.size),
        strength=asked.strength,
    )  # fmt: skip
    caps.check_order(order, model)
    return order


def painted(mask: Image.Image, image: Image.Image) -> Image.Image:
    """White where `mask`, RGBA, is transparent: there the image is edited."""
    if mask.size != image.size:
        sizes = f"{mask.width} x {mask.height} pixels and the image {image.width} x {image.height}"
        raise invalid(f"the mask has {sizes}: they have to be of one size", param="mask", code="invalid_image")
    alpha = mask.getchannel("A")
    if alpha.getextrema()[0] == 255:
        raise invalid("the mask is nowhere transparent, where it would be edited", param="mask", code="invalid_image")
    return alpha.point([255 - value for value in range(256)])


def repeated(name: str | None, asked: BaseModel, *files: bytes | None) -> Idempotency | None:
    """What is the same when the same request comes again."""
    if name is None:
        return None
    told: Mapping[str, Any] = asked.model_dump(exclude={"images", "mask"})
    digest = hashlib.sha256(json.dumps([type(asked).__name__, told], sort_keys=True).encode())
    for file in files:
        digest.update(hashlib.sha256(file or b"").digest())
    return Idempotency(name, digest.hexdigest())


def _check(asked: Asked) -> None:
    if asked.background == "transparent":
        raise invalid("no model here draws transparent pictures: leave background out", param="background")
    if asked.output_compression not in (None, 100) and asked.output_format in (None, "png"):
        said = "output_compression is for jpeg and webp: a png has all its pixels"
        raise invalid(said, param="output_compression")
    if asked.partial_images and not asked.stream:
        raise invalid("partial_images come in a stream: set stream to true too", param="partial_images")


def _redrawing(model: Model) -> Model:
    if not model.has("strength"):
        raise invalid(f"{model.name} draws from the prompt alone, and not over images", param="model")
    return model


def _knobs(asked: Asked, model: Model) -> dict[str, Any]:
    found = dict(asked.knobs or {})
    for word, knob in WORDS.items():
        value = getattr(asked, word)
        if value is None:
            continue
        if not model.has(knob):
            raise invalid(f"{model.name} has no {word}: leave it out", param=word)
        if knob in found:
            raise invalid(f"{word} and knobs.{knob} are the same: give one of them", param=word)
        found[knob] = value
    model.check_knobs(found)
    return found


def _size(size: str | None) -> tuple[int, int] | None:
    if size in (None, "auto"):
        return None
    width, height = (int(side) for side in size.split("x"))
    return height, width


def _seed(seed: int | None) -> int:
    return secrets.randbelow(2**32) if seed is None else seed


def _previews(asked: Asked) -> int:
    return (asked.partial_images or 0) if asked.stream else 0
