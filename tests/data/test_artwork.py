from __future__ import annotations

import io
import json
import math
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.core import InputError
from limner.data.scenes.artwork import PACK, Artwork, artwork
from limner.data.scenes.shapes import COLOURS, POLYGONS, SHAPES, shape_picture

LANGUAGES = {"de", "es", "fr", "it", "pt", "ru", "ar", "hi", "ja", "ko", "zh"}


def small_pack(path: Path, picture: Image.Image) -> Path:
    """A pack of one emoji with the given picture."""
    row = {"name": "disc", "emoji": "o", "group": "g", "subgroup": "s", "looks": 0, "vocabulary": True}
    row |= {"skin_tone": False, "box": [0, 0, 128, 128], "ink": [[255, 255, 255, 100]]}
    stream = io.BytesIO()
    picture.save(stream, "WEBP", lossless=True, exact=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("index.json", json.dumps([row]))
        archive.writestr("0000.webp", stream.getvalue())
    return path


def test_vocabulary_has_one_thing_a_name_and_no_skin_tones() -> None:
    things = artwork().things
    spoken = [thing for thing in things if thing.vocabulary]
    assert [thing.index for thing in things] == list(range(len(things)))
    assert len({thing.name.lower() for thing in spoken}) == len(spoken) > 1900
    assert not any(thing.skin_tone for thing in spoken)
    assert sum(thing.skin_tone for thing in things) == 1785
    assert {"red heart", "yellow circle"} <= {thing.name for thing in artwork().shapes}
    assert not any(thing.name in ("red heart", "yellow circle") for thing in artwork().emoji)


def test_names_are_words_and_come_in_all_languages() -> None:
    pack = artwork()
    assert not [thing.name for thing in pack.emoji if ":" in thing.name or "’" in thing.name]
    germany = pack.named("flag of Germany")
    assert germany.names["de"] == "Flagge von Deutschland"
    assert germany.names["ja"] == "ドイツの旗"
    assert pack.named("flag of the United States").emoji == "🇺🇸"
    assert pack.named("bald man").emoji == "👨‍🦲"
    assert pack.named("family of man, woman, girl and boy").emoji == "👨‍👩‍👧‍👦"
    assert "octagonal" in pack.named("stop sign").keywords["en"]
    named = [thing for thing in pack.emoji if set(thing.names) == LANGUAGES]
    assert len(named) > 0.98 * len(pack.emoji)


def test_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean"):
        artwork().named("stop sing")


def test_same_looks_are_one_class() -> None:
    looks = {name: artwork().named(name).looks for name in
             ("flag of Norway", "flag of Bouvet Island", "flag of Romania", "flag of Chad", "dog", "cat")}  # fmt: skip
    assert looks["flag of Norway"] == looks["flag of Bouvet Island"]
    assert len(set(looks.values())) == 5


def test_pack_is_reproducible_by_its_form() -> None:
    with zipfile.ZipFile(PACK) as archive:
        members = archive.infolist()
        assert {member.date_time for member in members} == {(1980, 1, 1, 0, 0, 0)}
        assert [member.filename for member in members[1:]] == [f"{n:04d}.webp" for n in range(len(members) - 1)]
        assert {member.compress_type for member in members[1:]} == {zipfile.ZIP_STORED}
    assert PACK.stat().st_size < 9e6
    assert "SIL Open Font License" in (PACK.parent / "artwork.LICENSE").read_text()
    assert "Unicode" in (PACK.parent / "names.LICENSE").read_text()


def test_box_and_ink_say_what_the_picture_holds() -> None:
    for thing in artwork().things[::97]:
        pixels = np.asarray(artwork().picture(thing.index, 128))
        rows, columns = np.nonzero(pixels[..., 3])
        assert thing.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        shares = [share for *_, share in thing.ink]
        assert 40 < sum(shares) <= 100
        assert shares == sorted(shares, reverse=True)


def test_edges_have_no_dark_fringe(tmp_path: Path) -> None:
    """White ink on transparent black: where anything is left of it after resizing, it is still white."""
    pixels = np.zeros((128, 128, 4), np.uint8)
    y, x = np.mgrid[:128, :128] - 63.5
    pixels[x**2 + y**2 < 50**2] = 255
    pack = Artwork(small_pack(tmp_path / "pack.zip", Image.fromarray(pixels)))
    small = np.asarray(pack.picture(0, 40)).astype(int)
    edge = (small[..., 3] > 24) & (small[..., 3] < 230)
    assert edge.sum() > 30
    assert small[..., :3][edge].min() > 240


def test_cache_is_bounded() -> None:
    pack = Artwork(decoded=3, resized=4)
    for index in range(12):
        pack.picture(index, 32)
    assert pack.picture.cache_info().currsize == 4
    assert pack._full.cache_info().currsize == 3


def test_threads_see_what_one_thread_sees() -> None:
    shared, alone = Artwork(decoded=8, resized=8), artwork()
    indices = [n % 60 for n in range(0, 600, 7)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda index: shared.picture(index, 48).tobytes(), indices))
    assert found == [alone.picture(index, 48).tobytes() for index in indices]


def test_missing_and_broken_packs_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.zip: the artwork is not there; build it"):
        _ = Artwork(tmp_path / "gone.zip").things
    (tmp_path / "torn.zip").write_bytes(PACK.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"torn\.zip: not a zip"):
        _ = Artwork(tmp_path / "torn.zip").things


def shoelace(corners: tuple[tuple[int, int], ...]) -> float:
    pairs = zip(corners, corners[1:] + corners[:1], strict=True)
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)) / 2


@pytest.mark.parametrize("size", [24, 48, 120])
@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "heart"])
def test_shapes_cover_the_area_that_geometry_says(shape: str, size: int) -> None:
    discs = {"circle": math.pi * 448**2, "ring": math.pi * (448**2 - 248**2)}
    area = discs[shape] if shape in discs else shoelace(POLYGONS[shape])
    alpha = np.asarray(shape_picture(shape, "red", size).getchannel("A")) / 255
    assert alpha.mean() == pytest.approx(area / 1024**2, rel=0.02)
    assert ((alpha > 0) & (alpha < 1)).any() or shape == "square"


def test_shapes_have_their_colour_everywhere() -> None:
    for colour, value in COLOURS.items():
        pixels = np.asarray(shape_picture("star", colour, 48))
        assert (pixels[..., :3] == value).all()
