"""Folders of captioned pictures for tests: good ones, and ones with every fault in a known place."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (220, 40, 40), "green": (40, 160, 60), "blue": (50, 80, 220), "yellow": (235, 200, 40)}
SHAPES = ("circle", "square")


def picture(number: int, *, width: int = 40, height: int = 40) -> tuple[Image.Image, str]:
    """A shape on noise of its own, so that no two numbers are near duplicates, and its caption."""
    colour = list(COLOURS)[number % len(COLOURS)]
    shape = SHAPES[number // len(COLOURS) % len(SHAPES)]
    rough = np.random.default_rng(number).integers(96, 256, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)
    half = min(width, height) // 3
    box = (width // 2 - half, height // 2 - half, width // 2 + half, height // 2 + half)
    draw = ImageDraw.Draw(image)
    (draw.ellipse if shape == "circle" else draw.rectangle)(box, fill=COLOURS[colour])
    return image, f"a {colour} {shape} on coloured clouds, number {number}"


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def rotated(image: Image.Image, orientation: int = 6) -> bytes:
    """A JPEG that lies on its side and says so in its EXIF block."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180, 8: Image.Transpose.ROTATE_270}[orientation]
    return encoded(image.transpose(turned), "JPEG", quality=95, exif=exif)


@dataclass(frozen=True)
class Faults:
    """Where `captioned` put what: names of pictures."""

    broken: str = "0010.png"
    original: str = "0020.png"
    copy: str = "0021.png"
    rotated: str = "0030.jpg"
    empty: str = "0040.png"


def captioned(root: Path, *, count: int = 200) -> Faults:
    """`count` pictures with text files, among them a broken file, a duplicate, a rotated one and an empty caption."""
    root.mkdir(parents=True, exist_ok=True)
    faults = Faults()
    for number in range(count):
        image, caption = picture(number, width=48, height=36)
        name, data = f"{number:04}.png", encoded(image)
        if name == faults.broken:
            data = data[: len(data) // 2]
        if name == faults.copy:
            data = (root / faults.original).read_bytes()
        if number == 30:
            name, data = faults.rotated, rotated(image)
        (root / name).write_bytes(data)
        (root / name).with_suffix(".txt").write_text("" if name == faults.empty else f"{caption}\n", encoding="utf-8")
    return faults


def listed(root: Path, rows: Sequence[dict[str, object]], *, count: int) -> Path:
    """`count` pictures 0000.png and so on, and a metadata.jsonl of these rows."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (root / f"{number:04}.png").write_bytes(encoded(picture(number)[0]))
    (root / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return root


def shard(path: Path, members: Sequence[tuple[str, bytes]]) -> Path:
    """A tar of these members, as img2dataset writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
