"""An order as a model reads it: the request for one of its pictures."""

from __future__ import annotations

from PIL import Image

from limner.core import InputError, Request, unparse
from limner.data.people import pictures
from limner.pipeline import Pipeline
from limner.serve.orders import Order


def asked(pipe: Pipeline, order: Order, index: int, *, image: bytes | None, mask: bytes | None) -> Request:
    """The request for picture `index`, upon the image and the mask of these files; InputError if anything is amiss."""
    height, width = order.size or (None, None)
    canvas = pipe.canvas(
        height=height, width=width, image=_opened("image", image), mask_image=_opened("mask", mask),
        extend=None if order.extend is None else unparse(order.extend), upscale=order.upscale, exact=order.exact,
        feather=order.feather,
    )  # fmt: skip
    [request] = pipe.requests(
        order.prompt, negative_prompt=order.negative_prompt, seeds=order.seed + index, knobs=order.knobs,
        strength=order.strength, canvas=canvas,
    )  # fmt: skip
    return request


def _opened(name: str, file: bytes | None) -> Image.Image | None:
    try:
        return None if file is None else pictures.read_rgba(file)
    except pictures.UnreadableError as error:
        raise InputError(f"the {name} cannot be read as a picture: {error}") from None
