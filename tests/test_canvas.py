"""Canvases: sizes, masks, what is painted and what comes back; and that nothing odd is drawn upon."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.canvas import Canvas, Margins, Sizes, feathered, grown, opened, prepare
from limner.core import InputError
from tests.folders import encoded, rotated

ANY, ONE = Sizes(own=16, multiple=8), Sizes(own=16, multiple=None)


def coloured(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 127.5 - 1.0


def half(width: int, height: int) -> Image.Image:
    """White on the right."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (width // 2, 0, width, height))
    return mask


def bomb() -> bytes:
    """A PNG of a few bytes that says it has four billion pixels."""
    data = bytearray(encoded(coloured(2, 2)))
    data[16:24] = struct.pack(">II", 65535, 65535)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


# ---------------------------------------------------------------------------------------------------
# Sizes.


def test_the_least_canvas_that_holds_a_picture_is_drawn():
    assert ANY.around((1, 8)) == (8, 8)
    assert ANY.around((9, 16)) == (16, 16)
    assert ONE.around((16, 16)) == (16, 16)
    assert ANY.nearest((11, 13)) == (8, 16)
    assert ANY.nearest((1, 1)) == (8, 8)


@pytest.mark.parametrize(
    ("sizes", "size", "words"),
    [
        (ANY, (8, 20), "20 x 8 is not a size of this model's, whose sides are multiples of 8; the nearest is 16 x 8"),
        (ONE, (16, 32), "32 x 16 is not a size of this model's, which draws 16 x 16 alone"),
        (ANY, (0, 8), "8 x 0 pixels are no picture"),
        (ANY, (-8, -8), "-8 x -8 pixels are no picture"),
        (ANY, (8192, 4096), "4096 x 8192 pixels are more than the 16,777,216"),
        (ANY, (10**30, 8), "more than the 16,777,216"),
    ],
)
def test_other_sizes_are_refused_with_the_nearest(sizes, size, words):
    with pytest.raises(InputError) as caught:
        sizes.check(size)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_canvas_is_blank_without_an_image():
    assert prepare(ANY) == Canvas(size=(16, 16), frame=(16, 16))
    assert prepare(ANY, size=(8, 24)) == Canvas(size=(8, 24), frame=(8, 24))
    assert not prepare(ANY).twice
    assert prepare(ANY, upscale=2.0).twice
    drawn = torch.randn(3, 16, 16)
    assert prepare(ONE).finish(drawn).equal(drawn)


# ---------------------------------------------------------------------------------------------------
# Images.


@pytest.mark.parametrize("size", [(16, 8), (13, 9), (3, 1)])
def test_an_image_keeps_its_pixels_and_mirrors_beyond_them(size):
    image = coloured(*size)
    canvas = prepare(ANY, image=image)
    width, height = size
    assert canvas.size == ANY.around((height, width)) == canvas.image.shape[1:]
    assert canvas.image[:, :height, :width].equal(pixels(image))
    assert canvas.finish(canvas.image).equal(pixels(image))
    if width > 3 and width % 8:
        assert canvas.image[:, :, width].equal(canvas.image[:, :, width - 1])
        assert canvas.image[:, :, width + 1].equal(canvas.image[:, :, width - 2])


def test_an_image_is_scaled_and_cut_to_a_size_that_is_given():
    image = Image.new("RGB", (64, 16), "red")
    image.paste((0, 0, 255), (16, 0, 48, 16))
    canvas = prepare(ANY, image=image, size=(8, 8))
    assert canvas.image.equal(torch.tensor([-1.0, -1.0, 1.0])[:, None, None].expand(3, 8, 8))
    assert prepare(ONE, image=image).size == (16, 16)


def test_a_photograph_is_not_drawn_at_its_size_unawares():
    photo = Image.new("RGB", (40, 30))
    with pytest.raises(InputError, match=r"40 x 30.* 16 x 16 .* give the size, 16 x 16 say, or 40 x 30"):
        prepare(ANY, image=photo)
    assert prepare(ANY, image=photo, size=(30, 40)).size == (32, 40)
    assert prepare(ONE, image=photo).size == (16, 16)


def test_an_image_is_enlarged_and_all_drawn_anew():
    canvas = prepare(ANY, image=coloured(10, 6), upscale=1.5)
    assert canvas.frame == (9, 15)
    assert canvas.size == (16, 16)
    assert not canvas.twice
    assert canvas.strength == 0.5


def test_modes_of_every_sort_are_converted_and_turned_upright():
    deep = Image.fromarray(np.full((8, 8), 65535 // 2, dtype=np.uint16))
    grey, ink = Image.new("L", (8, 8), 127), Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    indexed = Image.new("RGB", (8, 8), "red").convert("P")
    for image, colour in ((deep, (127,) * 3), (grey, (127,) * 3), (ink, (255, 0, 0)), (indexed, (255, 0, 0))):
        assert prepare(ANY, image=image).image.equal(pixels(Image.new("RGB", (8, 8), colour))), image.mode
    tall = Image.new("RGB", (8, 16), "white")
    tall.paste((0, 0, 0), (0, 0, 8, 8))
    with Image.open(io.BytesIO(rotated(tall))) as lying:
        assert lying.size == (16, 8)
        for _ in range(2):
            assert (prepare(ANY, image=lying).image - pixels(tall)).abs().max() < 0.1


def test_a_file_is_opened_once_upright_and_with_its_transparency(tmp_path):
    (tmp_path / "a.jpg").write_bytes(rotated(coloured(8, 16)))
    image = opened(tmp_path / "a.jpg")
    assert (image.size, image.mode) == ((8, 16), "RGBA")
    assert prepare(ANY, image=image).frame == (16, 8)
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "b.png")
    assert prepare(ANY, image=opened(tmp_path / "b.png")).mask.equal(torch.ones(1, 8, 8))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"not a picture", "begins with"),
        (encoded(coloured(64, 64))[:-1000], "cannot be read"),
        (b"P6 99999 99999 255\n", "none of PNG"),
        (bomb(), "65535 x 65535 pixels are more"),
        (None, "does not exist"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(tmp_path, content, words):
    path = tmp_path / "odd.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        opened(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="is a folder"):
        opened(Path(tmp_path))


# ---------------------------------------------------------------------------------------------------
# Masks.


def test_white_is_painted_and_grey_in_part():
    mask = Image.new("RGB", (16, 8), (51, 51, 51))
    mask.paste((255, 255, 255), (8, 0, 16, 8))
    canvas = prepare(ANY, image=coloured(16, 8), mask=mask)
    assert canvas.mask[0, 0].tolist() == pytest.approx([0.2] * 8 + [1.0] * 8)
    assert canvas.weights is None
    assert canvas.strength == 1.0


def test_transparent_parts_are_a_mask_unless_there_is_another():
    image = coloured(8, 8).convert("RGBA")
    image.putalpha(Image.eval(half(8, 8), lambda one: 255 - one))
    assert prepare(ANY, image=image).mask[0, 0].tolist() == [0.0] * 4 + [1.0] * 4
    by_mask = prepare(ANY, image=image, mask=Image.new("L", (8, 8), 255))
    assert by_mask.mask.eq(1.0).all()
    assert by_mask.image[:, :, 4:].eq(1.0).all()  # on white
    image.putalpha(200)  # a veil is no hole
    assert prepare(ANY, image=image).mask is None


def test_edges_that_are_transparent_in_part_blend_into_what_is_drawn():
    image = coloured(8, 8).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((8, 8), Image.Resampling.BOX))
    canvas = prepare(ANY, image=image, feather=0)
    ground = Image.new("RGBA", (8, 8), (200, 100, 50, 255))
    expected = pixels(Image.alpha_composite(ground, image))
    assert (canvas.finish(pixels(ground)) - expected).abs().max() < 1.5 / 127.5


def test_a_feather_rises_inside_the_mask_alone():
    mask = torch.zeros(1, 9, 20)
    mask[:, :, 10:] = 1.0
    soft = feathered(mask, 4)[0, 4]
    assert soft.tolist() == [0.0] * 10 + [0.25, 0.5, 0.75] + [1.0] * 7  # the picture's own edge is none of the mask's
    for thick in range(1, 9):
        stroke = torch.zeros(1, 9, 20)
        stroke[:, :, 5 : 5 + thick] = 1.0
        found = feathered(stroke, 8)
        assert found.max() == 1.0
        assert found[stroke == 0].eq(0.0).all()
    assert feathered(mask, 0).equal(mask)
    assert feathered(0.5 * mask, 4).max() == 0.5


def test_what_is_extended_is_painted_and_overlaps():
    image = coloured(32, 20)
    canvas = prepare(Sizes(own=32, multiple=8), image=image, extend=Margins(left=7, bottom=5), feather=3)
    assert canvas.frame == (25, 39)
    assert canvas.size == (32, 40)
    assert canvas.image[:, :20, 7:39].equal(pixels(image))
    assert canvas.image[:, :20, 6].equal(canvas.image[:, :20, 7])
    assert canvas.mask[0, 0, :12].tolist() == [1.0] * 10 + [0.0] * 2
    assert canvas.weights[0, 0, 6:11].tolist() == pytest.approx([1.0, 1.0, 2 / 3, 1 / 3, 0.0])
    picture = canvas.finish(torch.full((3, 32, 40), 5.0))
    assert picture[:, :17, 10:].equal(pixels(image)[:, :17, 3:])
    assert picture[:, :, :7].eq(5.0).all()
    assert picture[:, 20:].eq(5.0).all()


def test_transparent_parts_of_what_is_extended_are_painted_too():
    image = coloured(16, 16).convert("RGBA")
    image.putalpha(Image.eval(half(16, 16), lambda one: 255 - one))
    canvas = prepare(ANY, image=image, extend=Margins(left=8), feather=0)
    assert canvas.mask[0, 0].tolist() == [1.0] * 8 + [0.0] * 8 + [1.0] * 8


def test_a_grown_mask_reaches_so_far():
    mask = torch.zeros(1, 5, 9)
    mask[0, 2, 4] = 1.0
    assert grown(mask, 2)[0, 0].tolist() == [0.0] * 2 + [1.0] * 5 + [0.0] * 2
    assert grown(mask, 0).equal(mask)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"mask": half(8, 8)}, "give the image too"),
        ({"extend": Margins(left=8)}, "give the image too"),
        ({"feather": 8}, "give an image and a mask"),
        ({"image": coloured(8, 8), "feather": 8}, "give a mask, too"),
        ({"image": coloured(8, 8), "mask": half(8, 16)}, "the mask is 8 x 16 and the image 8 x 8"),
        ({"image": coloured(8, 8), "mask": Image.new("L", (8, 8), 100)}, "nothing to paint"),
        ({"image": coloured(8, 8), "mask": Image.new("RGBA", (8, 8))}, "transparent parts"),
        ({"image": coloured(8, 8), "mask": half(8, 8), "extend": Margins(left=8)}, "leave the mask out"),
        ({"image": coloured(8, 8), "mask": half(8, 8), "upscale": 2.0}, "then enlarge"),
        ({"image": coloured(8, 8), "extend": Margins(left=8), "upscale": 2.0}, "then enlarge"),
        ({"image": coloured(8, 8), "extend": Margins(left=10**9)}, "more than the 16,777,216"),
        ({"image": coloured(8, 8), "size": (10**9, 1)}, "more than the 16,777,216"),
        ({"image": Image.new("F", (8, 8))}, "32-bit pixels"),
        ({"upscale": 0.5}, "upscale = 0.5"),
        ({"upscale": float("nan")}, "upscale = nan"),
        ({"upscale": float("inf")}, "upscale = inf"),
        ({"size": (4096, 4096), "upscale": 1.1}, "more than the 16,777,216"),
        ({"image": coloured(8, 8), "mask": half(8, 8), "feather": -1}, "feather = -1"),
    ],
)
def test_what_does_not_go_together_is_one_line(asked, words):
    with pytest.raises(InputError) as caught:
        prepare(ANY, **asked)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_margins_add_something_and_cut_nothing():
    assert str(Margins(right=3, left=1)) == "left=1 right=3"
    for wrong in ({}, {"left": -1}, {"left": 8, "top": -2}):
        with pytest.raises(InputError):
            Margins(**wrong)
