"""What a picture carries, read back by ourselves and by the rules of each container."""

from __future__ import annotations

import io
import json
import re
import struct
import xml.etree.ElementTree
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner import provenance
from limner.canvas import Margins
from limner.core import InputError
from limner.provenance import (
    Settings,
    encode,
    parameters,
    read_digital_source,
    read_parameters,
    read_picture_settings,
    read_pixels,
    save_picture,
)

SETTINGS = Settings(
    prompt="a stop sign is flying in blue skies", negative_prompt="rain", seed=7, family="flow",
    knobs={"steps": 20, "guidance": 3.0, "solver": "dpm++2m", "strength": 0.6, "guidance_from": 0.0, "even": True},
    model="flow-scenes", model_hash="0123456789abcdef" * 4, width=16, height=8, limner="0.1.0", torch="2.13.0",
)  # fmt: skip
PROMPTS = [
    "", "plain", "Ärger über Öl", "ひまわり と 🌻", "two\nlines, with: colons", 'quotes " and \\ and {braces}',
    "\x00\x01\x1f\x7f", "\ud800 alone", "<x:xmpmeta/>&amp;", "Negative prompt: nothing", "x" * 10_000,
]  # fmt: skip
KINDS = (".png", ".jpg", ".webp")
READER = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')  # as the web UI reads it


def picture() -> Image.Image:
    rough = np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    return Image.fromarray(rough)


def chunks(path: Path) -> list[tuple[bytes, bytes]]:
    """A PNG's chunks, each with its checksum verified."""
    data, found, place = path.read_bytes(), [], 8
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        [checksum] = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        assert checksum == zlib.crc32(kind + body)
        found.append((kind, body))
        place += 12 + length
    return found


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_settings_come_back_exactly(tmp_path, suffix, prompt):
    path, settings = tmp_path / f"picture{suffix}", replace(SETTINGS, prompt=prompt, negative_prompt=prompt)
    save_picture(picture(), path, settings)
    assert read_picture_settings(path) == settings
    kept = prompt.replace("\0", "?").replace("\ud800", "?")
    assert read_parameters(path) == parameters(settings)
    assert read_parameters(path).startswith(f"{kept}\nNegative prompt: {kept}\nSteps: 20" if kept else "\nSteps: 20")
    assert read_digital_source(path) == "trainedAlgorithmicMedia"
    if suffix == ".png":
        assert read_pixels(path).tobytes() == picture().tobytes()


def test_the_parameters_are_what_other_programs_write():
    text = parameters(SETTINGS)
    assert text == (
        "a stop sign is flying in blue skies\nNegative prompt: rain\n"
        "Steps: 20, Sampler: dpm++2m, CFG scale: 3.0, Seed: 7, Size: 16x8, Model hash: 0123456789, Model: flow-scenes, "
        "Guidance from: 0.0, Even: True, Version: limner 0.1.0"
    )
    painted = parameters(replace(SETTINGS, source="fedcba9876543210", negative_prompt="", knobs={"strength": 0.6}))
    assert painted.splitlines()[1] == (
        "Seed: 7, Size: 16x8, Model hash: 0123456789, Model: flow-scenes, Denoising strength: 0.6, "
        "Init image hash: fedcba9876, Version: limner 0.1.0"
    )


def test_what_was_done_to_a_picture_is_told_as_others_tell_it():
    drawn = replace(SETTINGS, negative_prompt="", knobs={"strength": 0.5}, width=32, height=16)
    twice = parameters(replace(drawn, upscale=2.0)).splitlines()[1]
    assert twice == (
        "Seed: 7, Size: 16x8, Model hash: 0123456789, Model: flow-scenes, Denoising strength: 0.5, "
        "Hires upscale: 2.0, Hires upscaler: Lanczos, Version: limner 0.1.0"
    )
    over = replace(drawn, source="fedcba9876543210", extend=Margins(left=8, top=4), feather=3)
    assert (
        parameters(over)
        .splitlines()[1]
        .endswith(
            "Size: 32x16, Model hash: 0123456789, Model: flow-scenes, Denoising strength: 0.5, "
            "Init image hash: fedcba9876, Mask blur: 3, Extend: left=8 top=4, Version: limner 0.1.0"
        )
    )
    assert "Hires" not in parameters(replace(over, upscale=2.0))
    for one in (over, replace(drawn, upscale=1.7)):
        assert Settings.from_json(one.to_json(), "here") == one


@pytest.mark.parametrize("factor", [1.01, 1.5, 1.7, 3.3, 16.0])
def test_the_size_asked_for_follows_from_what_came_of_it(factor):
    for side in range(1, 200):
        wide = replace(SETTINGS, width=round(factor * side), height=round(factor * 64), upscale=factor)
        assert wide.size == (64, side)
    assert replace(SETTINGS, width=30, height=20, extend=Margins(left=8, top=4, bottom=1)).size == (15, 22)
    with pytest.raises(InputError, match=r"here: upscale = 0\.0"):
        Settings.from_json(SETTINGS.to_json().replace('"upscale": 1.0', '"upscale": 0.0'), "here")


def test_odd_values_survive_the_readers_rule():
    odd = replace(SETTINGS, model='mine, "v2": new', knobs={"note": "a, b: c\nd"})
    pairs = dict(READER.findall(parameters(odd).splitlines()[-1]))
    assert json.loads(pairs["Model"]) == 'mine, "v2": new'
    assert json.loads(pairs["Note"]) == "a, b: c\nd"
    assert pairs["Size"] == "16x8"
    assert pairs["Version"] == "limner 0.1.0"


def test_a_png_holds_text_chunks_of_the_right_kind(tmp_path):
    path = tmp_path / "picture.png"
    save_picture(picture(), path, SETTINGS)
    texts = dict(body.split(b"\0", 1) for kind, body in chunks(path) if kind == b"tEXt")
    assert texts[b"parameters"].decode("latin-1") == parameters(SETTINGS)
    assert json.loads(texts[b"limner"])["seed"] == 7
    save_picture(picture(), path, replace(SETTINGS, prompt="ひまわり"))
    [body] = [body for kind, body in chunks(path) if kind == b"iTXt" and body.startswith(b"parameters\0")]
    assert body.removeprefix(b"parameters\0\0\0\0\0").decode().startswith("ひまわり\n")


def xmp_in(path: Path) -> str:
    """The XMP packet where each container's own rules put it."""
    data = path.read_bytes()
    if path.suffix == ".png":
        [packet] = [body for kind, body in chunks(path) if kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0")]
        return packet.removeprefix(b"XML:com.adobe.xmp\0\0\0\0\0").decode()
    if path.suffix == ".jpg":
        start = data.index(b"\xff\xe1", data.index(b"http://ns.adobe.com/xap/1.0/\0") - 4)
        [length] = struct.unpack(">H", data[start + 2 : start + 4])
        return data[start + 4 : start + 2 + length].removeprefix(b"http://ns.adobe.com/xap/1.0/\0").decode()
    start = data.index(b"XMP ")
    [length] = struct.unpack("<I", data[start + 4 : start + 8])
    return data[start + 8 : start + 8 + length].decode()


@pytest.mark.parametrize("suffix", KINDS)
def test_the_digital_source_type_stands_in_well_formed_xmp(tmp_path, suffix):
    path = tmp_path / f"picture{suffix}"
    for source, word in (("", "trainedAlgorithmicMedia"), ("ab" * 32, "compositeWithTrainedAlgorithmicMedia")):
        save_picture(picture(), path, replace(SETTINGS, source=source))
        tree = xml.etree.ElementTree.fromstring(xmp_in(path))
        key = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
        [found] = [node.attrib[key] for node in tree.iter() if key in node.attrib]
        assert found == f"http://cv.iptc.org/newscodes/digitalsourcetype/{word}"
        assert read_digital_source(path) == word


def test_a_jpegs_comment_is_as_the_web_ui_reads_it(tmp_path):
    path = tmp_path / "picture.jpg"
    save_picture(picture(), path, replace(SETTINGS, prompt="ひ"))
    with Image.open(path) as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment[:8] == b"UNICODE\0"
    assert comment[8:].decode("utf-16-be").startswith("ひ\nNegative prompt: rain\nSteps: 20")


def test_what_a_jpeg_cannot_hold_is_said(tmp_path):
    long = replace(SETTINGS, prompt="x" * 40_000)
    with pytest.raises(InputError, match="too long to be kept in a JPEG"):
        save_picture(picture(), tmp_path / "picture.jpg", long)
    assert not list(tmp_path.iterdir())
    save_picture(picture(), tmp_path / "picture.png", long)
    assert read_picture_settings(tmp_path / "picture.png") == long


def test_an_unknown_suffix_is_named(tmp_path):
    for name in ("picture.bmp", "picture"):
        with pytest.raises(InputError, match=r"\.png, \.jpg, \.jpeg, \.webp"):
            save_picture(picture(), tmp_path / name, SETTINGS)


def test_a_file_is_replaced_whole_or_stays(tmp_path, monkeypatch):
    path = tmp_path / "new/picture.png"
    save_picture(picture(), path, SETTINGS)
    before = path.read_bytes()

    def full(where: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(provenance, "atomic_write", full)
    with pytest.raises(OSError, match="No space"):
        save_picture(picture(), path, replace(SETTINGS, seed=8))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_pictures_of_others_say_nothing_or_their_own(tmp_path):
    for suffix in KINDS:
        picture().save(tmp_path / f"plain{suffix}")
        for read in (read_picture_settings, read_parameters, read_digital_source):
            assert read(tmp_path / f"plain{suffix}") is None
    theirs = PngInfo()
    theirs.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler a, Seed: 1")
    picture().save(tmp_path / "theirs.png", pnginfo=theirs)
    assert read_picture_settings(tmp_path / "theirs.png") is None
    assert read_parameters(tmp_path / "theirs.png").startswith("a cat\n")


FORGED = ["no json", "[]", '{"prompt": 3}', "[" * 100_000, json.dumps({**json.loads(SETTINGS.to_json()), "seed": "7"})]


@pytest.mark.parametrize("forged", FORGED)
def test_forged_settings_are_an_input_error(tmp_path, forged):
    info = PngInfo()
    info.add_text("limner", forged)
    picture().save(tmp_path / "forged.png", pnginfo=info)
    with pytest.raises(InputError, match=r"forged\.png"):
        read_picture_settings(tmp_path / "forged.png")


@pytest.mark.parametrize("suffix", KINDS)
def test_torn_files_are_input_errors(tmp_path, suffix):
    path, kind = tmp_path / f"torn{suffix}", provenance.format_of(Path(f"x{suffix}"))
    whole = encode(picture(), kind, SETTINGS)
    with Image.open(io.BytesIO(whole)) as image:
        assert image.format == kind
    for length in range(0, len(whole) - 30, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cannot be read as a PNG, JPEG or WebP"):
            read_pixels(path)
    with pytest.raises(InputError, match="does not exist"):
        read_picture_settings(tmp_path / "absent.png")
    with pytest.raises(InputError, match="is a folder"):
        read_picture_settings(tmp_path)
