"""What a picture carries about itself: how it was drawn, for programs and people, and that a model drew it.

Three things, in PNG, JPEG and WebP: the `parameters` text that AUTOMATIC1111's web UI began and other
programs read; our own JSON, exact and complete; and XMP with the IPTC's digital source type.
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image, PngImagePlugin
from PIL.ExifTags import IFD, Base

from limner.canvas import Margins
from limner.core import InputError, check, parse, unparse
from limner.store import atomic_write

T = TypeVar("T")
Value = bool | int | float | str | None
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
QUALITY, COMPRESSION = 95, 3  # zlib's 6 takes three times as long for a twelfth of the size (128 x 128)
MOST_EXIF = 65_000  # a JPEG's segment holds 65,533 bytes
SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmp:CreatorTool="limner {limner}" Iptc4xmpExt:DigitalSourceType="{source}"/>
</rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
XMP_KEY, JSON_KEY, TEXT_KEY = "XML:com.adobe.xmp", "limner", "parameters"
MAKER, UNICODE = b"limner\0", b"UNICODE\0"
SPELLINGS = {"steps": "Steps", "solver": "Sampler", "guidance": "CFG scale", "strength": "Denoising strength"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that one picture was drawn with. `batch` is how many were drawn together.

    `precision` is what the networks drew in, nothing where they have no choice, `compile` the wish: see `engine`.

    `source` is the SHA-256 of the picture (and mask) it was painted over, or nothing; `extend` by how much that was
    extended first; `feather`, over how many pixels its own blend into the drawn ones, None where it has none back.
    `upscale` is how many times that, or what was drawn at first, was enlarged. `step` is the number
    of steps behind a preview, None for a finished picture. `score` is what the CLIP `judge` said of it.
    """

    prompt: str
    negative_prompt: str
    seed: int
    family: str
    knobs: dict[str, Value]
    model: str
    model_hash: str
    width: int
    height: int
    limner: str
    torch: str
    batch: int = 1
    precision: str = ""
    compile: str = "auto"
    source: str = ""
    extend: Margins | None = None
    feather: int | None = None
    upscale: float = 1.0
    step: int | None = None
    judge: str = ""
    judge_hash: str = ""
    score: float | None = None

    def __post_init__(self) -> None:
        check(self.upscale >= 1.0, f"upscale = {self.upscale} is below 1, and enlarges nothing")

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) to ask for, so that extended and enlarged it has its own."""
        height, width = (round(side / self.upscale) for side in (self.height, self.width))
        if self.extend is None:
            return height, width
        rows, columns = self.extend.both
        return height - sum(rows), width - sum(columns)

    @property
    def twice(self) -> bool:
        """Whether it was drawn from the prompt alone, enlarged, and drawn once more."""
        return self.upscale > 1.0 and not self.source

    def to_json(self) -> str:
        """ASCII, so that any string survives any container."""
        return json.dumps(unparse(self))

    @staticmethod
    def from_json(text: str, where: str) -> Settings:
        """InputError, beginning with `where`, if it is not what `to_json` wrote."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: the settings in it are not JSON ({error})") from None
        if not isinstance(values, dict):
            raise InputError(f"{where}: the settings in it are no JSON object")
        return parse(Settings, values, where)


def parameters(settings: Settings) -> str:
    """The text that A1111 writes: the prompt, the negative one, and a line of settings in its order."""
    lines = [_encodable(settings.prompt)]
    if settings.negative_prompt:
        lines.append(f"Negative prompt: {_encodable(settings.negative_prompt)}")
    known = {SPELLINGS[key]: value for key, value in settings.knobs.items() if key in SPELLINGS}
    height, width = settings.size if settings.twice else (settings.height, settings.width)
    if not (settings.twice or settings.source):
        known.pop("Denoising strength", None)
    extras = {_spelt(key): value for key, value in settings.knobs.items() if key not in SPELLINGS}
    pairs: dict[str, Value] = {
        "Steps": known.get("Steps"),
        "Sampler": known.get("Sampler"),
        "CFG scale": known.get("CFG scale"),
        "Seed": settings.seed,
        "Size": f"{width}x{height}",
        "Model hash": settings.model_hash[:10],
        "Model": settings.model,
        "Denoising strength": known.get("Denoising strength"),
        "Init image hash": settings.source[:10] or None,
        **extras,
        "Mask blur": settings.feather,
        "Extend": None if settings.extend is None else str(settings.extend),
        "Hires upscale": settings.upscale if settings.twice else None,
        "Hires upscaler": "Lanczos" if settings.twice else None,
        "Preview step": settings.step,
        "Judge": settings.judge or None,
        "Judge hash": settings.judge_hash[:10] or None,
        "Score": None if settings.score is None else round(settings.score, 4),
        "Precision": settings.precision or None,
        "Version": f"limner {settings.limner}",
    }
    lines.append(", ".join(f"{key}: {_quoted(value)}" for key, value in pairs.items() if value is not None))
    return "\n".join(lines)


def save_picture(image: Image.Image, path: Path, settings: Settings) -> None:
    """Write a PNG, JPEG or WebP, as the suffix says, with all it carries; an old file is replaced in one step."""
    data = encode(image, format_of(path), settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, data)


def format_of(path: Path) -> str:
    """Pillow's name of the format that the suffix means; InputError for others."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: pictures are written as {', '.join(FORMATS)}, not as {path.suffix or 'no suffix'}")
    return FORMATS[path.suffix.lower()]


def encode(image: Image.Image, kind: str, settings: Settings, *, quality: int = QUALITY) -> bytes:
    """The bytes of a PNG, JPEG or WEBP file; `quality`, from 0 to 100, is of the latter two."""
    xmp = XMP.format(limner=settings.limner, source=SOURCES + _digital_source(settings))
    out = io.BytesIO()
    if kind == "PNG":
        image.save(out, format=kind, pnginfo=_png_chunks(settings, xmp), compress_level=COMPRESSION)
    elif kind == "JPEG":
        exif = _exif(settings)
        if len(exif) > MOST_EXIF:
            raise InputError("the prompt is too long to be kept in a JPEG; shorten it, or write a PNG")
        image.save(out, format=kind, quality=quality, subsampling=0, exif=exif, xmp=xmp.encode())
    else:
        image.save(out, format=kind, quality=quality, exif=_exif(settings), xmp=xmp.encode())
    return out.getvalue()


def read_picture_settings(path: Path) -> Settings | None:
    """What a picture of ours carries; None if it carries nothing; InputError if it is no picture, or damaged."""
    text = _read(path, _json_in)
    return None if text is None else Settings.from_json(text, str(path))


def read_parameters(path: Path) -> str | None:
    """The A1111 text of a picture, of ours or another program's."""
    return _read(path, _parameters_in)


def read_digital_source(path: Path) -> str | None:
    """The IPTC's word for where a picture comes from, such as trainedAlgorithmicMedia, if its XMP has one."""
    return _read(path, _digital_source_in)


def read_pixels(path: Path) -> Image.Image:
    """The whole picture as RGB; InputError if it is none, or torn."""
    return _read(path, lambda image: image.convert("RGB"))


# ---------------------------------------------------------------------------------------------------
# Containers.


def _png_chunks(settings: Settings, xmp: str) -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(TEXT_KEY, parameters(settings))  # Latin-1 as tEXt, all else as iTXt
    chunks.add_text(JSON_KEY, settings.to_json())
    chunks.add_itxt(XMP_KEY, xmp)
    return chunks


def _exif(settings: Settings) -> bytes:
    exif = Image.Exif()
    exif[Base.Software] = f"limner {settings.limner}"
    about = exif.get_ifd(IFD.Exif)
    about[Base.UserComment] = UNICODE + parameters(settings).encode("utf-16-be")
    about[Base.MakerNote] = MAKER + settings.to_json().encode()
    return exif.tobytes()


def _json_in(image: Image.Image) -> str | None:
    if JSON_KEY in image.info:
        return str(image.info[JSON_KEY])
    note = image.getexif().get_ifd(IFD.Exif).get(Base.MakerNote)
    if isinstance(note, bytes) and note.startswith(MAKER):
        return note.removeprefix(MAKER).decode()
    return None


def _parameters_in(image: Image.Image) -> str | None:
    if TEXT_KEY in image.info:
        return str(image.info[TEXT_KEY])
    comment = image.getexif().get_ifd(IFD.Exif).get(Base.UserComment)
    if isinstance(comment, bytes) and comment.startswith(UNICODE):
        return comment.removeprefix(UNICODE).decode("utf-16-be")
    return None


def _digital_source_in(image: Image.Image) -> str | None:
    xmp = image.info.get(XMP_KEY) or image.info.get("xmp") or ""
    text = xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp)
    found = re.search(re.escape(SOURCES) + r"(\w+)", text)
    return found[1] if found else None


def _read(path: Path, look: Callable[[Image.Image], T]) -> T:
    try:
        with Image.open(path, formats=["PNG", "JPEG", "WEBP"]) as image:
            image.load()
            return look(image)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; name a picture") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; name a picture") from None
    except PermissionError:
        raise
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a PNG, JPEG or WebP: {error}") from None


# ---------------------------------------------------------------------------------------------------
# Text.


def _digital_source(settings: Settings) -> str:
    return "compositeWithTrainedAlgorithmicMedia" if settings.source else "trainedAlgorithmicMedia"


def _encodable(text: str) -> str:
    """What PNG and UTF-8 cannot hold, NUL and lone surrogates, become question marks; the JSON has them exactly."""
    return text.replace("\0", "?").encode("utf-8", "replace").decode()


def _spelt(key: str) -> str:
    return key.replace("_", " ").capitalize()


def _quoted(value: Value) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if re.search(r"[,:\n]", text) else text
