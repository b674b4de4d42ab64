"""Build src/limner/assets/artwork.zip: every emoji that the font draws as one glyph, with its names.

Pictures come from Debian's fonts-noto-color-emoji, the list and order from unicode-data, names and
keywords from unicode-cldr-core. The same three packages give the same file, byte for byte:

    apt-get install fonts-noto-color-emoji unicode-data unicode-cldr-core
    pip install -e .[artwork] && python scripts/build_artwork.py
"""

from __future__ import annotations

import argparse
import io
import json
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import uharfbuzz
from fontTools.ttLib import TTFont
from PIL import Image

SHARE = Path("/usr/share")
ASSETS = Path(__file__).resolve().parents[1] / "src/limner/assets"
LANGUAGES = ("en", "de", "es", "fr", "it", "pt", "ru", "ar", "hi", "ja", "ko", "zh")
SKIN_TONES = {chr(code) for code in range(0x1F3FB, 0x1F400)}
SELECTOR = "\ufe0f"

# Names that the scenes say of their own shapes and sizes: as an emoji's name they would mean two things.
COLOURS = "red|orange|yellow|green|blue|purple|pink|brown|black|white|gr[ae]y"
TAKEN = re.compile(
    rf"({COLOURS}) (circle|square|triangle|star|heart|diamond|hexagon|ring)"
    rf"|({COLOURS}) (large|medium|medium-small|small) square|(large|small) ({COLOURS}) diamond"
    r"|red triangle pointed up|small airplane"
)

WITH_THE = (
    r"United .+|Bahamas|Comoros|Gambia|Maldives|(?:Caribbean )?Netherlands|Philippines|Isle of Man"
    r"|.+ (?:Republic|Islands|Territor.+)"
)
# CLDR writes a family as "sort: details"; these are the words that a person would say.
WORDED = (
    (rf"flag: ({WITH_THE})", r"flag of the \1"),
    (r"flag: (.+)", r"flag of \1"),
    (r"keycap: (.+)", r"keycap \1"),
    (r"(man|woman|person): bald", r"bald \1"),
    (r"(man|woman|person): beard", r"\1 with a beard"),
    (r"(man|woman|person): (.+ hair)", r"\1 with \2"),
    (r"kiss: (\w+), (\w+)", r"kiss of a \1 and a \2"),
    (r"couple with heart: (\w+), (\w+)", r"couple with heart of a \1 and a \2"),
    (r"family: (\w+), (\w+), (\w+), (\w+)", r"family of \1, \2, \3 and \4"),
    (r"family: (\w+), (\w+), (\w+)", r"family of \1, \2 and \3"),
    (r"family: (\w+), (\w+)", r"family of \1 and \2"),
)  # fmt: skip
# Japanese, Korean and Chinese put the flag's country first.
FLAGS = {
    "de": "{flag} von {land}",
    "es": "{flag} de {land}",
    "ja": "{land}の{flag}",
    "ko": "{land} {flag}",
    "zh": "{land}{flag}",
}


def sequences(path: Path) -> list[dict[str, Any]]:
    """The fully-qualified emoji in Unicode's order: emoji, group, subgroup, the list's own English name."""
    found, group, subgroup = [], "", ""
    line_of = re.compile(r"[0-9A-F ]+?\s+; fully-qualified\s+# (\S+) E[\d.]+ (.+)")
    for line in path.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"# (group|subgroup): (.+)", line):
            group, subgroup = (heading[2], "") if heading[1] == "group" else (group, heading[2])
        elif match := line_of.match(line):
            found.append({"emoji": match[1], "group": group, "subgroup": subgroup, "listed": match[2]})
    return found


class Font:
    """The colour bitmaps of an OpenType font with a CBDT table."""

    def __init__(self, path: Path) -> None:
        tables = TTFont(path)
        self.names = tables.getGlyphOrder()
        self.strike = tables["CBDT"].strikeData[0]
        self.shaper = uharfbuzz.Font(uharfbuzz.Face(uharfbuzz.Blob.from_file_path(str(path))))

    def picture(self, text: str) -> Image.Image | None:
        """The (128, 128) RGBA bitmap of `text`, or None where it does not come out as one glyph."""
        buffer = uharfbuzz.Buffer()
        buffer.add_str(text)
        buffer.guess_segment_properties()
        buffer.flags = uharfbuzz.BufferFlags.REMOVE_DEFAULT_IGNORABLES
        uharfbuzz.shape(self.shaper, buffer)
        glyphs = [self.names[info.codepoint] for info in buffer.glyph_infos]
        if len(glyphs) != 1 or glyphs[0] not in self.strike:
            return None
        return fitted(Image.open(io.BytesIO(self.strike[glyphs[0]].imageData)).convert("RGBA"))


def fitted(picture: Image.Image) -> Image.Image:
    """On a canvas of 128 x 128: the font's are 136 wide with four empty columns at each side."""
    left = (picture.width - 128) // 2
    ink = picture.getchannel("A").getbbox()
    assert picture.height == 128
    assert ink is not None
    assert left <= ink[0] < ink[2] <= left + 128, (picture.size, ink)
    return picture.crop((left, 0, left + 128, 128))


def spoken_of(common: Path, language: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Names and keywords by emoji, of which CLDR has removed the selectors."""
    names: dict[str, str] = {}
    keywords: dict[str, list[str]] = {}
    for folder in ("annotations", "annotationsDerived"):
        for entry in ElementTree.parse(common / folder / f"{language}.xml").iter("annotation"):
            text = (entry.text or "").strip()
            if entry.get("type") == "tts":
                names[entry.attrib["cp"]] = text
            else:
                keywords[entry.attrib["cp"]] = [word.strip() for word in text.split("|")]
    return names, keywords


def worded(name: str) -> str:
    """The English name in the words of a sentence."""
    name = name.replace("’", "'").replace("“", '"').replace("”", '"').replace("mx claus", "Mx Claus")
    for pattern, words in WORDED:
        name = re.sub(rf"^{pattern}$", words, name)
    return re.sub(r"^(flag of .+) &", r"\1 and", name)


def translated(name: str, language: str) -> str:
    flag, colon, land = name.partition(":")
    flag, land = flag.strip().replace("Bandera", "bandera"), land.strip()
    if colon and language in FLAGS and flag in {"Flagge", "bandera", "drapeau", "旗", "깃발"}:
        return FLAGS[language].format(flag=flag, land=land)
    # Some Hindi names are CLDR's keywords again, of which the first is the name.
    return name.split(", ")[0] if language == "hi" and not colon else name


def ink(picture: Image.Image) -> list[list[int]]:
    """The opaque colours, commonest first: red, green, blue, share of the ink in percent."""
    bins: dict[tuple[int, int, int], list[int]] = {}
    data = picture.resize((32, 32), Image.Resampling.BOX).tobytes()
    for r, g, b, a in zip(*[iter(data)] * 4, strict=True):
        if a >= 128:
            total = bins.setdefault((r // 52, g // 52, b // 52), [0, 0, 0, 0])
            for place, value in enumerate((r, g, b, 1)):
                total[place] += value
    count = sum(total[3] for total in bins.values())
    largest = sorted(bins.values(), key=lambda total: (-total[3], total))[:8]
    return [[*(total[c] // total[3] for c in range(3)), 100 * total[3] // count] for total in largest]


def entries(font: Font, share: Path) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The index and the pictures, in Unicode's order."""
    common = share / "unicode/cldr/common"
    cldr = {language: spoken_of(common, language) for language in LANGUAGES}
    index: list[dict[str, Any]] = []
    pictures: list[bytes] = []
    for row in sequences(share / "unicode/emoji/emoji-test.txt"):
        picture = font.picture(row["emoji"])
        if picture is None:
            continue
        key = row["emoji"].replace(SELECTOR, "")
        toned = bool(SKIN_TONES & set(key))
        name = worded(cldr["en"][0].get(key, row["listed"]))
        entry = {"emoji": row["emoji"], "codes": [f"{ord(c):x}" for c in row["emoji"]], "name": name}
        entry |= {"group": row["group"], "subgroup": row["subgroup"], "skin_tone": toned}
        entry["looks"] = len(index)
        entry["box"], entry["ink"] = list(picture.getchannel("A").getbbox() or ()), ink(picture)
        if not toned:
            entry["names"] = {one: translated(cldr[one][0][key], one) for one in LANGUAGES[1:] if key in cldr[one][0]}
            entry["keywords"] = {one: cldr[one][1][key] for one in LANGUAGES if key in cldr[one][1]}
        index.append(entry)
        pictures.append(encoded(picture, lossless=not toned))
    return index, pictures


def merge_looks(index: list[dict[str, Any]], pictures: list[bytes]) -> None:
    """Give what cannot be told apart one `looks`: less than 5 of 255 (root mean square) on gray at 48 pixels.

    It joins the flags that are the same (Norway, Svalbard, Bouvet Island) and loudspeakers of two volumes;
    the flags of Romania and Chad, at 10, stay apart.
    """
    spoken = [number for number, entry in enumerate(index) if not entry["skin_tone"]]
    small = np.stack([on_gray(pictures[number]) for number in spoken])
    for row, number in enumerate(spoken):
        distances = np.sqrt(np.square(small[:row] - small[row]).mean(axis=1))
        if row and distances.min() < 5:
            index[number]["looks"] = index[spoken[int(distances.argmin())]]["looks"]


def on_gray(picture: bytes) -> np.ndarray:
    canvas = Image.new("RGBA", (48, 48), (200, 200, 200, 255))
    canvas.alpha_composite(Image.open(io.BytesIO(picture)).convert("RGBA").resize((48, 48), Image.Resampling.HAMMING))
    return np.asarray(canvas.convert("RGB"), dtype=np.float32).ravel()


def encoded(picture: Image.Image, *, lossless: bool) -> bytes:
    """Flat artwork is as small without loss as at quality 85; skin tones, of which no caption speaks, pay for it."""
    stream = io.BytesIO()
    picture.save(stream, "WEBP", lossless=lossless, quality=75 if lossless else 60, alpha_quality=60, method=4)
    return stream.getvalue()


def choose_vocabulary(index: list[dict[str, Any]]) -> None:
    """Mark what captions speak of: no skin tones, nothing that the shapes say, one emoji a name."""
    said: set[str] = set()
    for entry in index:
        name = entry["name"].lower()
        entry["vocabulary"] = not entry["skin_tone"] and not TAKEN.fullmatch(name) and name not in said
        if entry["vocabulary"]:
            said.add(name)


def write(path: Path, index: list[dict[str, Any]], pictures: list[bytes]) -> None:
    """Fixed times and order. The pictures are stored as they are; the index alone is deflated."""
    with zipfile.ZipFile(path, "w") as archive:
        text = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
        archive.writestr(member("index.json"), text, zipfile.ZIP_DEFLATED, 9)
        for number, picture in enumerate(pictures):
            archive.writestr(member(f"{number:04d}.webp"), picture, zipfile.ZIP_STORED)


def member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, 0o644 << 16
    return info


def licence(path: Path, title: str, copyright_file: Path, start: str) -> None:
    """The licence's own text, taken from the Debian package, without the packaging's indentation."""
    text = copyright_file.read_text(encoding="utf-8")
    body = text[text.index(start) :].splitlines()[1:]
    kept = "\n".join("" if line.strip() == "." else line.removeprefix(" ") for line in body)
    path.write_text(f"{title}\n\n{kept.strip()}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--share", type=Path, default=SHARE, help="where the three packages are installed")
    parser.add_argument("--out", type=Path, default=ASSETS)
    options = parser.parse_args()
    font = Font(options.share / "fonts/truetype/noto/NotoColorEmoji.ttf")
    index, pictures = entries(font, options.share)
    merge_looks(index, pictures)
    choose_vocabulary(index)
    write(options.out / "artwork.zip", index, pictures)
    documents = options.share / "doc"
    licence(
        options.out / "artwork.LICENSE",
        "The pictures in artwork.zip are the bitmaps of Noto Color Emoji (Debian package fonts-noto-color-emoji),\n"
        "Copyright 2013 Google Inc., under the SIL Open Font License, Version 1.1:",
        documents / "fonts-noto-color-emoji/copyright",
        "License:   SIL-1.1\n This Font",
    )
    licence(
        options.out / "names.LICENSE",
        "Names and keywords in artwork.zip come from the Unicode Common Locale Data Repository (Debian package\n"
        "unicode-cldr-core) and Unicode's emoji list, Copyright 1991-2022 Unicode, Inc., under this licence:",
        documents / "unicode-cldr-core/copyright",
        "License:   Unicode-DFS-2016",
    )
    looks = Counter(entry["looks"] for entry in index)
    spoken = sum(entry["vocabulary"] for entry in index)
    size = (options.out / "artwork.zip").stat().st_size
    print(f"{len(index)} emoji, {len(looks)} looks, {spoken} in the vocabulary, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
