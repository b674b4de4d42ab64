"""Pictures that somebody sent: looked at before they are decoded, and kept as PNG files of ours.

What comes is opened by the decoders of a few formats alone, chosen by content; nothing else of it is kept but pixels.
"""

from __future__ import annotations

import base64
import binascii
import io
import re

from PIL import Image

from limner.data.people import pictures
from limner.serve import caps
from limner.serve.problems import Problem, invalid

DATA_URL = re.compile(r"data:image/[a-z+.-]{1,20};base64,", re.IGNORECASE)


def picture(data: bytes, name: str) -> Image.Image:
    """RGBA, upright; Problem where it is none, or too large. `name` is the field that it came in."""
    if len(data) > caps.UPLOAD:
        raise too_large(name, f"has {len(data):,} bytes, and at most {caps.UPLOAD:,} are read")
    try:
        width, height = pictures.size(data)
        if width * height > caps.PIXELS:
            raise too_large(name, f"has {width} x {height} pixels, and at most {caps.PIXELS:,} are read")
        return pictures.read_rgba(data)
    except pictures.UnreadableError as error:
        raise invalid(f"{name} cannot be read as a picture: {error}", param=name, code="invalid_image") from None


def from_base64(text: str, name: str) -> bytes:
    """The bytes of a data URL, or of base64 alone."""
    found = DATA_URL.match(text)
    try:
        return base64.b64decode(text[found.end() :] if found else text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(f"{name} is no picture in base64", param=name, code="invalid_image") from None


def png(image: Image.Image) -> bytes:
    """A file of these pixels and nothing else."""
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def too_large(name: str, said: str) -> Problem:
    return invalid(f"{name} {said}: send a smaller one", param=name, code="too_large", status=413)
