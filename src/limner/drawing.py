"""Requests to tensors: any family's sketches, step by step and together, until they are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from PIL import Image
from torch import Tensor

from limner import engine
from limner.canvas import Sizes, Task
from limner.core import Family, Request, Sketch

BATCH = 8  # pictures advanced together: more no longer fill the caches of a CPU better (docs/LOG.md)
PIXELS = 1 << 18  # of all of them, or one picture: what is as large as 512 x 512 alone has nothing to gain from company

OnStep = Callable[[Sequence[Sketch]], None]


def drawing(
    family: Family, requests: Sequence[Request], *, batch: int = BATCH, on_step: OnStep | None = None
) -> Iterator[list[Sketch]]:
    """Draw `requests` in order, at most `batch` at once: yields each batch when it is done.

    `on_step` is shown the sketches of a batch after each of their steps. InputError before anything is drawn where the
    family cannot draw one of them.
    """
    fits(family, requests)
    for some in _together(requests, batch, own=family.config.image_size):
        sketches = family.begin(some)
        while undone := [sketch for sketch in sketches if not sketch.done]:
            family.advance(undone)
            if on_step is not None:
                on_step(sketches)
        engine.rest(family)
        yield sketches


def fits(family: Family, requests: Sequence[Request]) -> None:
    """InputError where the family cannot draw one of them."""
    sizes = Sizes.of(family)
    for request in requests:
        if request.size is not None:
            sizes.check(request.size)
        twice = isinstance(request, Task) and request.canvas.twice
        family.check(request, redrawn=twice or request.image is not None)


def _together(requests: Sequence[Request], most: int, *, own: int) -> Iterator[list[Request]]:
    """As many in a row as may be drawn together; without a size a request is for `own` pixels a side."""
    some: list[Request] = []
    room = PIXELS
    for request in requests:
        height, width = request.size or (own, own)
        if some and (len(some) == most or height * width > room):
            yield some
            some, room = [], PIXELS
        some.append(request)
        room -= height * width
    if some:
        yield some


def draw(
    family: Family, requests: Sequence[Request], *, batch: int = BATCH, on_step: OnStep | None = None
) -> list[Tensor]:
    """The finished pictures in order, (3, H, W) in [-1, 1] each. See `drawing`."""
    return [sketch.image for done in drawing(family, requests, batch=batch, on_step=on_step) for sketch in done]


def to_pil(picture: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] to 8-bit RGB, each value rounded to the nearest."""
    pixels = picture.detach().float().cpu().clamp(-1.0, 1.0).add(1.0).mul(127.5).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
