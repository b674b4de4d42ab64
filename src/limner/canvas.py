"""What a picture is drawn upon: an image fitted, masked, extended; and what of the drawing becomes the picture.

A model draws whole multiples of some pixels. A picture of other sides lies in the upper left of a larger canvas that
mirrors it, and is cut out again, so that it keeps its size and its pixels. Sizes are (height, width), images
(3, H, W) in [-1, 1], masks (1, H, W) from 0 to 1: 1 where to paint.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

from limner.core import Family, InputError, Request, check

FEATHER, MOST_FEATHER = 8, 256  # pixels
MOST_PIXELS, MOST_UPSCALE = 4096 * 4096, 16
FAMILIAR = 4  # an image of more times the model's own pixels is drawn at its size only if that is given
REPAINTED, ENLARGED = 1.0, 0.5  # the usual strengths; an image that is only redrawn has the family's

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Margins:
    """Pixels by which an image is extended on each side."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __post_init__(self) -> None:
        sides = (self.left, self.top, self.right, self.bottom)
        check(min(sides) >= 0, f"{min(sides)} is below 0: an image is extended by so many pixels, and not cut")
        check(max(sides) > 0, "nothing is added: extend the image on one side at least")

    @property
    def both(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Before and after, of the height and of the width."""
        return (self.top, self.bottom), (self.left, self.right)

    def __str__(self) -> str:
        names = ("left", "top", "right", "bottom")
        return " ".join(f"{name}={getattr(self, name)}" for name in names if getattr(self, name))


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a model draws: squares of its `own` side or, with a `multiple`, all whose sides are multiples of that."""

    own: int
    multiple: int | None

    @staticmethod
    def of(family: Family) -> Sizes:
        return Sizes(family.config.image_size, family.multiple)

    @property
    def usual(self) -> Size:
        return self.own, self.own

    def check(self, size: Size) -> None:
        """InputError where it is not drawn, with the nearest that is."""
        _check_area(size)
        best = self.nearest(size)
        alone = f"which draws {_said(best)} alone"
        others = f"whose sides are multiples of {self.multiple}; the nearest is {_said(best)}"
        ours = alone if self.multiple is None else others
        check(size == best, f"{_said(size)} is not a size of this model's, {ours}")

    def nearest(self, size: Size) -> Size:
        if self.multiple is None:
            return self.usual
        height, width = (max(1, round(side / self.multiple)) * self.multiple for side in size)
        return height, width

    def around(self, size: Size) -> Size:
        """The least that is drawn and holds `size`; InputError where nothing does."""
        if self.multiple is None:
            self.check(size)
            return size
        height, width = (math.ceil(side / self.multiple) * self.multiple for side in size)
        _check_area((height, width))
        return height, width

    def check_familiar(self, size: Size) -> None:
        """InputError for the photograph that nobody wants drawn at its full size."""
        most = FAMILIAR * self.own**2
        smaller = self.nearest(_scaled(size, self.own / math.sqrt(math.prod(size))))
        check(
            math.prod(size) <= most,
            f"the image is {_said(size)}, far larger than the {_said(self.usual)} that this model learnt: "
            f"give the size, {_said(smaller)} say, or {_said(size)} if you mean it",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """One drawing: `size` is what the model draws, of which the upper left `frame` is the picture.

    With `weights` (1, H, W) so much is taken of what is drawn, and the rest of `image`. The rest are facts for the
    picture's settings: `source` is the SHA-256 of image and mask.
    """

    size: Size
    frame: Size
    image: Tensor | None = None
    mask: Tensor | None = None
    weights: Tensor | None = None
    extend: Margins | None = None
    feather: int | None = None
    upscale: float = 1.0
    source: str = ""

    @property
    def twice(self) -> bool:
        """Whether what is drawn is enlarged and drawn once more."""
        return self.image is None and self.upscale > 1.0

    @property
    def strength(self) -> float | None:
        """How much of the image is usually drawn anew; None: what the family finds usual."""
        if self.mask is not None:
            return REPAINTED
        return ENLARGED if self.upscale > 1.0 else None

    def finish(self, drawn: Tensor) -> Tensor:
        """What the model drew, (3, H, W), as the picture."""
        if self.image is not None and self.weights is not None:
            drawn = torch.lerp(self.image, drawn.to(self.image), self.weights)
        height, width = self.frame
        return drawn if self.frame == self.size else drawn[:, :height, :width]

    def enlarged(self, picture: Image.Image, sizes: Sizes) -> Canvas:
        """For the second time: the picture that was drawn upon this one, enlarged."""
        return replace(prepare(sizes, image=picture, size=self.frame, upscale=self.upscale), source="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Request):
    """A request with the canvas that its size, image and mask are from."""

    canvas: Canvas

    def upon(self, canvas: Canvas) -> Task:
        return replace(self, canvas=canvas, size=canvas.size, image=canvas.image, mask=canvas.mask)


def opened(path: Path) -> Image.Image:
    """A picture file, upright, RGBA; InputError, naming it, if it cannot be read."""
    from limner.data.people import pictures  # the formats of data sets come with it, and few drawings need them

    try:
        return pictures.read_rgba(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; name a picture") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; name a picture") from None
    except pictures.UnreadableError as error:
        raise InputError(f"{path} cannot be read as a picture: {error}") from None


def prepare(
    sizes: Sizes,
    *,
    image: Image.Image | None = None,
    mask: Image.Image | None = None,
    size: Size | None = None,
    extend: Margins | None = None,
    feather: int | None = None,
    upscale: float = 1.0,
) -> Canvas:
    """The canvas for what is asked; InputError, one line, for what does not go together.

    `image` and `mask` may be of any mode, and are turned upright. `feather` is None where the image's own pixels
    do not come back; what is extended always has them. The rest is as `Pipeline.canvas` says.
    """
    check(1.0 <= upscale <= MOST_UPSCALE, f"upscale = {upscale} is not from 1 to {MOST_UPSCALE}")
    soft = feather is None or 0 <= feather <= MOST_FEATHER
    check(soft, f"feather = {feather} is not from 0 to {MOST_FEATHER} pixels")
    if image is None:
        check(mask is None, "a mask needs the image that it belongs to: give the image too")
        check(extend is None, "there is nothing to extend: give the image too")
        check(feather is None, "there is nothing to keep exactly: give an image and a mask")
        return _blank(sizes, size or sizes.usual, upscale)
    check(extend is None or mask is None, "what is extended is painted where it is new: leave the mask out")
    picture, painted = _fitted(image, mask, sizes=sizes, size=size, extend=extend, upscale=upscale)
    if extend is not None:
        feather = FEATHER if feather is None else feather
        picture, painted = _extended(picture, painted, extend, overlap=feather)
    check(feather is None or painted is not None, "there is nothing to keep exactly: give a mask, too")
    whole = upscale == 1.0 or painted is None
    check(whole, "what is enlarged is drawn anew as a whole: repaint or extend first, then enlarge that")
    return replace(_upon(sizes, picture, painted, feather=feather), extend=extend, upscale=upscale)


# ---------------------------------------------------------------------------------------------------
# Canvases.


def _blank(sizes: Sizes, size: Size, upscale: float) -> Canvas:
    sizes.check(size)
    sizes.around(_scaled(size, upscale))
    return Canvas(size=size, frame=size, upscale=upscale)


def _upon(sizes: Sizes, picture: Tensor, painted: Tensor | None, *, feather: int | None) -> Canvas:
    frame = picture.shape[1], picture.shape[2]
    size = sizes.around(frame)
    image = _mirrored(picture, size)
    mask = None if painted is None else _mirrored(painted, size)
    return Canvas(
        size=size, frame=frame, image=image, mask=mask, feather=feather, source=_digest(image, mask),
        weights=None if mask is None or feather is None else feathered(mask, feather),
    )  # fmt: skip


def _extended(picture: Tensor, painted: Tensor | None, margins: Margins, *, overlap: int) -> tuple[Tensor, Tensor]:
    """The image mirrored into its margins, which are painted, as is some of it beside them."""
    _check_area((picture.shape[1] + sum(margins.both[0]), picture.shape[2] + sum(margins.both[1])))
    painted = torch.zeros_like(picture[:1]) if painted is None else painted
    wide = np.pad(picture.numpy(), ((0, 0), *margins.both), mode="symmetric")
    new = np.pad(painted.numpy(), ((0, 0), *margins.both), constant_values=1.0)
    return torch.from_numpy(wide), grown(torch.from_numpy(new), overlap)


def _mirrored(x: Tensor, size: Size) -> Tensor:
    """(C, h, w) to `size`, the right and the lower edge mirrored as often as need be."""
    more = [(0, side - old) for side, old in zip(size, x.shape[1:], strict=True)]
    return torch.from_numpy(np.pad(x.numpy(), ((0, 0), *more), mode="symmetric"))


def _digest(*parts: Tensor | None) -> str:
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts if part is not None)).hexdigest()


# ---------------------------------------------------------------------------------------------------
# Masks.


def grown(mask: Tensor, by: int) -> Tensor:
    """The mask and all within `by` pixels of it, diagonals too."""
    return F.max_pool2d(mask, 2 * by + 1, stride=1, padding=by)


def feathered(mask: Tensor, over: int) -> Tensor:
    """The mask, rising from 0 outside to itself `over` pixels inside, and sooner where no part of it is so thick."""
    total, inner, count = mask.clone(), mask, 1
    while count < over and (inner := -F.max_pool2d(-inner, 3, stride=1, padding=1)).any():
        total, count = total + inner, count + 1
    return total / count


# ---------------------------------------------------------------------------------------------------
# Pictures to tensors.


def _fitted(
    image: Image.Image,
    mask: Image.Image | None,
    *,
    sizes: Sizes,
    size: Size | None,
    extend: Margins | None,
    upscale: float,
) -> tuple[Tensor, Tensor | None]:
    """The image and what of it is painted, both of the size that is wanted.

    Where transparent parts are painted the colours are taken as they are, so that edges that are transparent in part
    blend into what is drawn; else the image lies on white.
    """
    from limner.data.people import pictures

    layers = pictures.rgba(image)
    wanted = _scaled(size or _natural(layers, sizes, extend), upscale)
    _check_area(wanted)
    white = ImageOps.invert(layers.getchannel("A")) if mask is None else _white(pictures.rgba(mask), layers)
    painted = _planes(white, wanted, Image.Resampling.BOX) / 255.0
    some = painted.max().item() >= 0.5
    check(some or mask is None, "the mask has no white where the picture is, so that there is nothing to paint")
    colours = layers.convert("RGB") if some and mask is None else pictures.on_white(layers)
    return _planes(colours, wanted, Image.Resampling.LANCZOS) / 127.5 - 1.0, painted if some else None


def _white(mask: Image.Image, image: Image.Image) -> Image.Image:
    """How white the mask is; InputError if it is of another size than the image, or not opaque."""
    check(
        mask.size == image.size,
        f"the mask is {_said(mask.size[::-1])} and the image {_said(image.size[::-1])}: make them of one size",
    )
    opaque = mask.getchannel("A").getextrema() == (255, 255)
    check(opaque, "the mask has transparent parts: make it opaque, white where to paint and black elsewhere")
    return mask.convert("L")


def _natural(image: Image.Image, sizes: Sizes, extend: Margins | None) -> Size:
    """The image's own size, or the model's where that has but one and the image is not a part of it."""
    if sizes.multiple is None and extend is None:
        return sizes.usual
    size = image.height, image.width
    _check_area(size)
    sizes.check_familiar(size)
    return size


def _planes(image: Image.Image, size: Size, filter: Image.Resampling) -> Tensor:
    """Scaled and cut in the middle, (C, H, W) floats from 0 to 255."""
    fitted = ImageOps.fit(image, size[::-1], filter)
    pixels = torch.from_numpy(np.array(fitted, dtype=np.float32))
    return rearrange(pixels, "H W -> 1 H W" if pixels.ndim == 2 else "H W C -> C H W").contiguous()


def _scaled(size: Size, factor: float) -> Size:
    return round(factor * size[0]), round(factor * size[1])


def _check_area(size: Size) -> None:
    check(min(size) > 0, f"{_said(size)} pixels are no picture: give a width and a height above 0")
    check(
        math.prod(size) <= MOST_PIXELS,
        f"{_said(size)} pixels are more than the {MOST_PIXELS:,} that can be drawn at once: ask for a smaller picture",
    )


def _said(size: Size) -> str:
    return f"{size[1]} x {size[0]}"
