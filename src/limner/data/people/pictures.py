"""One picture file to upright RGB pixels, whatever it says about rotation, colours, depth and alpha."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor

from limner.core import InputError

MAX_PIXELS = 89_478_485  # beyond this Pillow too speaks of a decompression bomb
REACH = 0.75  # from the middle of a box to the edges of its square, by the box's longer side
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
FORMATS = "PNG, JPEG, WebP, GIF, BMP, TIFF"

_OPENERS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"RIFF", WebPImageFile),
    (b"GIF8", GifImageFile),
    (b"BM", BmpImageFile),
    (b"II*\x00", TiffImageFile),
    (b"MM\x00*", TiffImageFile),
    (b"II+\x00", TiffImageFile),
    (b"MM\x00+", TiffImageFile),
)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableError(InputError):
    """A file that gives no picture; the message says why, and the caller knows which file it was."""


class TruncatedError(UnreadableError):
    """A file that ends before its picture does."""


class Box(NamedTuple):
    """Where in a picture its subject is, in pixels from the upper left corner."""

    left: float
    top: float
    width: float
    height: float


def decode(data: bytes, *, size: int, box: Box | None = None) -> Tensor:
    """(3, size, size) uint8: the short side brought to `size`, then cropped at the centre. `box` as in `read`."""
    image = fit(read(data, short=2 * size, box=box), size)
    planes = np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))  # (H, W, 3) -> (3, H, W)
    return torch.from_numpy(planes)  # numpy's copy, because torch wakes all its threads for so few bytes


def read(data: bytes, *, short: int | None = None, box: Box | None = None) -> Image.Image:
    """The first frame as an upright RGB image on white; with `box` only what is `around` it.

    With `short` a JPEG without a box may be decoded at a half, a quarter or an eighth of its size, its short side
    not below `short` pixels. Raises UnreadableError (TruncatedError where the file ends too early).
    """
    with _explained():
        image = _open(data)
        if short is not None and box is None:
            image.draft(None, (short, short))
        image.load()
        upright = _rgb(_upright(image))
        return upright if box is None else around(upright, box)


def size(data: bytes) -> tuple[int, int]:
    """Its width and height, of which nothing is decoded; raises as `read` does."""
    with _explained():
        return _open(data).size


def read_rgba(data: bytes) -> Image.Image:
    """The first frame as `rgba` makes it; raises as `read` does."""
    with _explained():
        image = _open(data)
        image.load()
        return rgba(image)


def rgba(image: Image.Image) -> Image.Image:
    """Upright and with its transparency, 8 bits a channel, and with no EXIF that could turn it once more."""
    upright = _eight_bits(_upright(image))
    whole = upright.convert("RGBA" if upright.has_transparency_data else "RGB").convert("RGBA")
    whole.info.clear()
    return whole


def on_white(image: Image.Image) -> Image.Image:
    """RGBA to RGB."""
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def around(image: Image.Image, box: Box) -> Image.Image:
    """The square about the middle of `box`, half as long again as its longer side, as far as the picture reaches."""
    half = int(REACH * max(box.width, box.height))
    x, y = int(box.left + box.width / 2), int(box.top + box.height / 2)
    edges = max(0, x - half), max(0, y - half), min(image.width, x + half), min(image.height, y + half)
    if edges[0] >= edges[2] or edges[1] >= edges[3]:
        raise UnreadableError(f"its box {tuple(box)} lies outside its {image.width} x {image.height} pixels")
    return image.crop(edges)


def fit(image: Image.Image, size: int) -> Image.Image:
    """The square at the centre, resampled to size x size with antialiasing."""
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    box = (left, top, left + short, top + short)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)


def _open(data: bytes) -> ImageFile:
    """The header only. Chosen by content, so that no other decoder of Pillow is ever reached."""
    for magic, opener in _OPENERS:
        if data.startswith(magic):
            image = opener(io.BytesIO(data))
            break
    else:
        begins = f"begins with {data[:8]!r}" if data else "is empty"
        raise UnreadableError(f"the file {begins} and is none of {FORMATS}")
    if image.width * image.height > MAX_PIXELS:
        raise UnreadableError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}")
    return image


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a damaged EXIF block says nothing about rotation, and the pixels are still good
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _rgb(image: Image.Image) -> Image.Image:
    image = _eight_bits(image)
    return on_white(image.convert("RGBA")) if image.has_transparency_data else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise UnreadableError("32-bit pixels have no fixed white; save it with 8 or 16 bits a channel")
    return image


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Within, whatever is raised becomes an UnreadableError that says why."""
    try:
        yield
    except UnreadableError:
        raise
    except Exception as error:  # a broken file may raise anything: decoders let struct, zlib and index errors through
        raise _why(error) from error


def _why(error: Exception) -> UnreadableError:
    reason = " ".join(str(error).split()) or type(error).__name__
    early = ("truncated", "unexpected end", "not enough data", "premature")
    kind = TruncatedError if isinstance(error, EOFError) or any(word in reason.lower() for word in early) else None
    return (kind or UnreadableError)(reason)
