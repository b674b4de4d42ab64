"""Every kind of picture file comes out as the upright RGB pixels that it means."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from limner.data.people.pictures import TruncatedError, UnreadableError, decode, fit, read
from tests.folders import encoded, picture, rotated


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def corner_marked(width: int, height: int) -> Image.Image:
    """Red at the top left, blue at the bottom right: any wrong turn shows."""
    image = Image.new("RGB", (width, height), (128, 128, 128))
    image.paste((255, 0, 0), (0, 0, width // 2, height // 2))
    image.paste((0, 0, 255), (width // 2, height // 2, width, height))
    return image


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_rotation_in_exif_is_undone(kind, orientation):
    upright = corner_marked(48, 32)
    stored_as = {  # the inverse of what a viewer does for each orientation
        1: lambda one: one,
        2: lambda one: one.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda one: one.transpose(Image.Transpose.ROTATE_180),
        4: lambda one: one.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda one: one.transpose(Image.Transpose.TRANSPOSE),
        6: lambda one: one.transpose(Image.Transpose.ROTATE_90),
        7: lambda one: one.transpose(Image.Transpose.TRANSVERSE),
        8: lambda one: one.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored_as(upright), kind, exif=exif)
    assert read(data).size == (48, 32)
    for point in ((4, 4), (44, 28), (44, 4)):
        difference = np.abs(np.subtract(read(data).getpixel(point), upright.getpixel(point)))
        assert difference.max() <= 40, (point, read(data).getpixel(point))


def test_adobe_cmyk_jpeg_and_cmyk_tiff_keep_their_colours():
    colours = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # red in ink
    for kind in ("JPEG", "TIFF"):
        assert np.abs(pixels(read(encoded(colours, kind))) - (255, 0, 0)).max() <= 4, kind
    stored = encoded(colours, "JPEG")
    assert b"Adobe" in stored
    with Image.open(io.BytesIO(stored)) as image:
        assert image.mode == "CMYK"


def deep_png(values: np.ndarray, colour_type: int) -> bytes:
    """A 16-bit PNG written by hand: Pillow writes 16 bits for grey only."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    expected = ramp / 257
    assert np.abs(pixels(read(deep_png(ramp, 0)))[..., 1] - expected).max() <= 1
    tiff = encoded(Image.fromarray(ramp), "TIFF")
    assert np.abs(pixels(read(tiff))[..., 2] - expected).max() <= 1
    colours = np.stack([ramp, ramp[::-1], ramp.T], axis=-1)
    assert np.abs(pixels(read(deep_png(colours, 2))) - colours / 257).max() <= 1


def test_32_bit_pixels_are_refused_with_a_remedy():
    floats = Image.fromarray(np.zeros((4, 4), dtype=np.float32))
    with pytest.raises(UnreadableError, match="8 or 16 bits"):
        read(encoded(floats, "TIFF"))


def test_transparency_lies_on_white():
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert np.abs(pixels(read(encoded(half))) - 127).max() <= 1
    hidden = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        assert pixels(read(encoded(hidden, kind, **options))).min() == 255, kind
    grey = Image.new("LA", (8, 8), (0, 0))
    assert pixels(read(encoded(grey))).min() == 255


def test_palettes_with_and_without_a_clear_colour():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(0, (0, 0, 4, 8))
    for kind in ("PNG", "GIF", "BMP"):
        assert read(encoded(image, kind)).getpixel((6, 4)) == (200, 100, 50), kind
    for kind in ("PNG", "GIF"):
        clear = read(encoded(image, kind, transparency=0))
        assert clear.getpixel((0, 0)) == (255, 255, 255), kind
        assert clear.getpixel((6, 4)) == (200, 100, 50), kind
    key = read(encoded(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3)))
    assert key.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_of_an_animation_the_first_frame(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(pixels(read(data)) - (250, 0, 0)).max() <= 6


def test_grey_and_black_and_white():
    assert read(encoded(Image.new("L", (4, 4), 77), "JPEG")).getpixel((0, 0)) == (77, 77, 77)
    assert read(encoded(Image.new("1", (4, 4), 1))).getpixel((0, 0)) == (255, 255, 255)


def test_fit_crops_the_centre_and_antialiases():
    wide = Image.new("RGB", (300, 100), "red")
    wide.paste((0, 0, 255), (100, 0, 200, 100))
    assert (pixels(fit(wide, 20))[:, 1:-1] == (0, 0, 255)).all()  # the outer columns see a little of the red
    stripes = Image.fromarray(np.tile(np.uint8([0, 255]), (64, 32))).convert("RGB")
    assert np.abs(pixels(fit(stripes, 8)) - 127.5).max() < 8
    same = picture(3)[0].crop((0, 0, 40, 33))
    assert np.array_equal(pixels(fit(same, 33)), pixels(same.crop((3, 0, 36, 33))))


def test_decode_gives_the_size_asked_for_also_from_a_smaller_picture():
    for width, height in ((513, 300), (7, 90), (1, 1), (32, 32)):
        tensor = decode(encoded(Image.new("RGB", (width, height), (9, 120, 240))), size=32)
        assert tensor.shape == (3, 32, 32)
        assert tensor.is_contiguous()
        assert tensor[:, 5, 5].tolist() == [9, 120, 240]


def test_a_jpeg_decoded_at_a_fraction_looks_like_the_whole_one():
    image = picture(5, width=700, height=520)[0]
    data = encoded(image, "JPEG", quality=95)
    quick = decode(data, size=64).numpy().astype(int)
    whole = np.asarray(fit(read(data), 64)).transpose(2, 0, 1).astype(int)
    assert np.abs(quick - whole).mean() < 1.5


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_cut_anywhere_a_file_is_no_picture(kind):
    data = encoded(picture(1, width=64, height=64)[0], kind)
    for share in (0.1, 0.5, 0.8):
        with pytest.raises(UnreadableError) as caught:
            read(data[: int(len(data) * share)])
        assert "\n" not in str(caught.value)


def test_what_was_cut_is_called_truncated():
    data = encoded(picture(1, width=64, height=64)[0], "JPEG")
    with pytest.raises(TruncatedError):
        read(data[: len(data) // 2])


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"%PDF-1.4", b"\0\0\0 ftypavif"])
def test_other_content_is_refused_whatever_its_name(data):
    with pytest.raises(UnreadableError, match="none of PNG, JPEG"):
        read(data)


def test_noise_after_a_right_beginning_never_escapes_as_another_error():
    rng = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        good = bytearray(encoded(picture(2)[0], kind))
        for _ in range(30):
            bad = bytearray(good)
            for place in rng.integers(8, len(bad), 6):
                bad[place] = rng.integers(256)
            with contextlib.suppress(UnreadableError):
                assert read(bytes(bad)).mode == "RGB"


def test_a_bomb_is_known_by_its_header():
    data = bytearray(deep_png(np.zeros((2, 2), np.uint16), 0))
    data[16:24] = struct.pack(">II", 50_000, 50_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with pytest.raises(UnreadableError, match="50000 x 50000"):
        read(bytes(data))


def test_a_damaged_exif_block_leaves_the_picture():
    data = rotated(picture(1)[0]).replace(b"MM\x00*", b"ZZ\x00*").replace(b"II*\x00", b"ZZ*\x00")
    assert read(data).size == (40, 40)
