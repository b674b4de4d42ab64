"""An image and its mask, made ready as A1111 does it; and a part that was drawn by itself, put back where it was."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter

from limner.serve import uploads
from limner.serve.a1111.asked import Image2Image
from limner.serve.problems import invalid

RADII = (256, 64, 16, 8, 4, 2)  # of the blurs that carry colours into what is painted, the widest undermost

Size = tuple[int, int]  # (width, height), as Pillow has it


@dataclass(frozen=True, slots=True)
class Canvas:
    """What is drawn over: `image` RGB and `mask` L, white where to paint. With a `box` they are that part of `whole`,
    into which what was drawn belongs, as far as `seam` is white there."""

    image: Image.Image
    mask: Image.Image | None = None
    box: tuple[int, int, int, int] | None = None
    whole: Image.Image | None = None
    seam: Image.Image | None = None


def canvas(asked: Image2Image, size: Size | None, *, usual: Size) -> Canvas:
    """`size` is what is to be drawn, or None for the image's own, and of a part the `usual` one. Problem where a
    picture cannot be read."""
    image = uploads.picture(uploads.from_base64((asked.init_images or [""])[0], "init_images"), "init_images")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if asked.mask is None:
        return Canvas(_resized(image, size, asked.resize_mode))
    mask = _mask(asked, image.size)
    start = filled(image, mask) if asked.inpainting_fill == 0 else image
    if asked.inpaint_full_res:
        return _part(asked, image, start, mask, size or usual)
    return Canvas(_resized(start, size, asked.resize_mode), _resized(mask, size, asked.resize_mode))


def put_back(drawn: Image.Image, canvas: Canvas) -> Image.Image:
    """The whole image with its part drawn."""
    if canvas.box is None or canvas.whole is None or canvas.seam is None:
        return drawn
    left, top, right, bottom = canvas.box
    layer = canvas.whole.copy()
    layer.paste(drawn.resize((right - left, bottom - top), Image.Resampling.LANCZOS), (left, top))
    return Image.composite(layer, canvas.whole, canvas.seam)


def blur(asked: Image2Image) -> int:
    return asked.mask_blur if asked.mask_blur is not None else asked.mask_blur_x


def filled(image: Image.Image, mask: Image.Image) -> Image.Image:
    """What is painted takes the colours around it."""
    kept = ImageChops.invert(mask.convert("L"))
    masked = image.convert("RGBA")
    masked.putalpha(kept)
    premultiplied = masked.convert("RGBa")  # so that what is masked lends no colour to what is not
    under = Image.new("RGBA", image.size)
    for radius in RADII:
        layer = premultiplied.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        under = Image.alpha_composite(under, layer)
    colours = under.convert("RGB")
    return Image.composite(image, colours, kept)


def _mask(asked: Image2Image, size: Size) -> Image.Image:
    mask = uploads.picture(uploads.from_base64(asked.mask or "", "mask"), "mask")
    found = Image.alpha_composite(Image.new("RGBA", mask.size, "black"), mask).convert("L").resize(size)
    if asked.inpainting_mask_invert:
        found = ImageChops.invert(found)
    if found.getbbox() is None:
        raise invalid("the mask is nowhere white, where it would be painted", param="mask", code="invalid_image")
    return found


def _part(asked: Image2Image, image: Image.Image, start: Image.Image, mask: Image.Image, size: Size) -> Canvas:
    """What is painted and a little around it, drawn at the full size."""
    seam = mask.filter(ImageFilter.GaussianBlur(blur(asked)))
    box = _box(seam.getbbox() or (0, 0, *image.size), asked.inpaint_full_res_padding, image.size, size)
    part, painted = start.crop(box).resize(size, Image.Resampling.LANCZOS), mask.crop(box).resize(size)
    return Canvas(part, painted, box=box, whole=image, seam=seam)


def _box(inner: tuple[int, int, int, int], padding: int, image: Size, size: Size) -> tuple[int, int, int, int]:
    """Around `inner`, with the proportions of `size` as far as the image goes."""
    left, top = max(0, inner[0] - padding), max(0, inner[1] - padding)
    right, bottom = min(image[0], inner[2] + padding), min(image[1], inner[3] + padding)
    ratio = size[0] / size[1]
    width = min(image[0], max(right - left, round((bottom - top) * ratio)))
    height = min(image[1], max(bottom - top, round(width / ratio)))
    left = min(max(0, (left + right - width) // 2), image[0] - width)
    top = min(max(0, (top + bottom - height) // 2), image[1] - height)
    return left, top, left + width, top + height


def _resized(image: Image.Image, size: Size | None, mode: int) -> Image.Image:
    """Stretched (0), or scaled and cut in the middle (1)."""
    if size is None or size == image.size:
        return image
    if mode == 0:
        return image.resize(size, Image.Resampling.LANCZOS)
    scale = max(size[0] / image.width, size[1] / image.height)
    width, height = size[0] / scale, size[1] / scale
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return image.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + width, top + height))
