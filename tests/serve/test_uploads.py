"""Pictures that are made to break whoever opens them: each is refused in time, and takes no memory."""

from __future__ import annotations

import base64
import io
import resource
import struct
import time
import zlib
from collections.abc import Callable

import httpx
import pytest
from PIL import Image

from limner.serve import caps, uploads
from limner.serve.problems import Problem
from tests.serving import Serving

MEMORY = 100 << 20


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def claimed(width: int, height: int, *more: bytes) -> bytes:
    """A PNG that says it is so large, and has next to nothing in it."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + body + chunk(b"IEND", b"")


def zeros(size: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)), packer.flush()])


def flat(width: int, height: int, kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("L", (width, height)).save(out, kind)
    return out.getvalue()


def frames(count: int) -> bytes:
    out = io.BytesIO()
    first, *rest = [Image.new("P", (8, 8), number % 256) for number in range(count)]
    first.save(out, "GIF", save_all=True, append_images=rest)
    return out.getvalue()


BOMBS: dict[str, Callable[[], bytes]] = {
    "a PNG of 50,000 x 50,000": lambda: claimed(50_000, 50_000),
    "a PNG of 2^31 x 2^31": lambda: claimed(2**31 - 1, 2**31 - 1),
    "a PNG just beyond the cap": lambda: claimed(4097, 4096),
    "a PNG of no width": lambda: claimed(0, 10),
    "a text chunk of 200 MB": lambda: claimed(8, 8, chunk(b"zTXt", b"a\0\0" + zeros(200 << 20))),
    "a profile of 200 MB": lambda: claimed(8, 8, chunk(b"iCCP", b"a\0\0" + zeros(200 << 20))),
    "a torn PNG": lambda: flat(200, 200, "PNG")[:60],
    "a torn JPEG": lambda: flat(200, 200, "JPEG")[:300],
    "a large JPEG": lambda: flat(8000, 8000, "JPEG"),
    "a large WebP": lambda: flat(5000, 5000, "WEBP"),
    "a PDF": lambda: b"%PDF-1.7\n" + b"x" * 1000,
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100000 100000\n",
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "PSD": lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30_000, 30_000, 8, 3),
    "FITS": lambda: b"SIMPLE  =                    T".ljust(2880) + b"\x1f\x8b",
    "HTML": lambda: b"<html><script>alert(1)</script></html>",
    "nothing": lambda: b"",
}


@pytest.fixture(scope="module")
def bombs() -> dict[str, bytes]:
    return {name: make() for name, make in BOMBS.items()}


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_are_decoded(bombs: dict[str, bytes], name: str) -> None:
    before, began = peak(), time.monotonic()
    with pytest.raises(Problem) as caught:
        uploads.picture(bombs[name], "image")
    assert 400 <= caught.value.status < 500
    assert time.monotonic() - began < 1.0
    assert peak() - before < MEMORY


def test_bombs_are_refused_by_the_service(service: Serving, bombs: dict[str, bytes]) -> None:
    before = service.memory()
    for name, data in bombs.items():
        began = time.monotonic()
        files = {"image": ("a.png", data, "image/png"), "prompt": (None, "a")}
        answer = httpx.post(f"{service.url}/v1/images/edits", files=files, timeout=60)
        assert answer.status_code in (400, 413), name
        assert time.monotonic() - began < 3.0, name
        if len(data) < 1 << 20:
            body = {"init_images": [base64.b64encode(data).decode()]}
            assert httpx.post(f"{service.url}/sdapi/v1/img2img", json=body, timeout=60).status_code in (400, 413), name
    print(f"{len(bombs)} bombs, each in two dialects; {(service.memory() - before) / 2**20:+.0f} MiB")
    assert service.memory() - before < MEMORY
    assert service.answers("/healthz/ready")


def test_a_picture_of_many_frames_is_its_first(service: Serving) -> None:
    began = time.monotonic()
    assert uploads.picture(frames(300), "image").size == (8, 8)
    assert time.monotonic() - began < 1.0


def test_a_picture_at_the_cap_is_read() -> None:
    assert uploads.picture(flat(4096, 4096, "PNG"), "image").size == (4096, 4096)
    assert caps.PIXELS == 4096 * 4096


def test_what_is_kept_are_pixels_alone() -> None:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x9286] = "a secret place"
    Image.new("RGB", (8, 8), "green").save(out, "JPEG", exif=exif, comment=b"a secret comment")
    assert b"secret" not in uploads.png(uploads.picture(out.getvalue(), "image"))
