"""Reads every picture of a folder once, changes nothing, and reports what training would suffer from."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limner.core import InputError, Tokenizer
from limner.data.people import duplicates, formats, pictures
from limner.data.people.formats.listing import Item, Listing, shown
from limner.data.people.report import Finding, Report, Shape, Spread
from limner.data.people.splits import divide, fingerprint, fingerprint_of

CHUNK = 256
HALF = 0.5


@dataclass(frozen=True, slots=True)
class Look:
    """What one reading of a picture leaves behind, a few hundred bytes."""

    width: int
    height: int
    print: int
    file: bytes
    pixels: bytes
    hash: int
    thumbnail: np.ndarray


def check(
    path: str | Path,
    *,
    size: int,
    tokenizer: Tokenizer | None = None,
    length: int | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Report:
    """Look at everything under `path` as a model of `size` x `size` pixels would use it.

    Captions are held against `length` tokens of `tokenizer`; without one they are not. `watch` is called
    with the number of pictures read so far and of all. An InputError where nothing is recognised.
    """
    assert (tokenizer is None) == (length is None), "a tokenizer comes with its length"
    listing = formats.find(path)
    looks = list(_looks(listing.items, watch or (lambda done, total: None)))
    sides, problem = _sides(listing, looks)
    good = [(item, look) for item, look in zip(listing.items, looks) if isinstance(look, Look)]
    good_sides = [side for side, look in zip(sides, looks) if isinstance(look, Look)]
    findings = [*_broken(listing, looks), *problem, *_captions(listing)]
    said = "not checked for length: no tokenizer given"
    if tokenizer is not None and length is not None:
        cut = _cut(listing.items, tokenizer, length)
        findings += cut
        said = f"{len(cut)} longer than {length} tokens"
    findings += [*_copies(good, good_sides), *_losses(good, size)]
    findings += [Finding("not used", (shown(name),)) for name in listing.unused]
    return Report(
        path=shown(str(path)),
        layout=listing.layout,
        size=size,
        pictures=len(listing.items),
        readable=len(good),
        captions=sum(bool(caption.text) for item in listing.items for caption in item.captions),
        splits=dict(sorted(Counter(sides).items())),
        held_out=not any(item.split == "validation" for item in listing.items),
        length=said,
        shape=_shape([look for _, look in good], size),
        findings=tuple(findings),
    )


def _looks(items: Sequence[Item], watch: Callable[[int, int], None]) -> Iterator[Look | pictures.UnreadableError]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(items), CHUNK):
            yield from pool.map(_look, items[start : start + CHUNK])
            watch(min(start + CHUNK, len(items)), len(items))


def _look(item: Item) -> Look | pictures.UnreadableError:
    try:
        data = item.read()
        image = pictures.read(data, box=item.box)
    except pictures.UnreadableError as error:
        return error
    return Look(
        width=image.width,
        height=image.height,
        print=fingerprint_of(io.BytesIO(data), 0, len(data)),
        file=hashlib.sha256(data).digest(),
        pixels=hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest(),
        hash=duplicates.perceptual_hash(image),
        thumbnail=duplicates.thumbnail(image),
    )


def _sides(listing: Listing, looks: Sequence[Look | Exception]) -> tuple[list[str], list[Finding]]:
    """The split of each item, or that it cannot be made."""
    prints = [look.print if isinstance(look, Look) else fingerprint(item) for item, look in zip(listing.items, looks)]
    try:
        return divide(listing.items, prints), []
    except InputError as error:
        return [item.split or "train" for item in listing.items], [Finding("malformed", (listing.root,), str(error))]


def _broken(listing: Listing, looks: Sequence[Look | Exception]) -> Iterator[Finding]:
    for item, look in zip(listing.items, looks):
        if isinstance(look, Exception):
            kind = "truncated" if isinstance(look, pictures.TruncatedError) else "unreadable"
            yield Finding(kind, (shown(item.name),), shown(str(look)))
    for fault in listing.faults:
        yield Finding("malformed", (shown(fault.place),), shown(fault.reason))


def _captions(listing: Listing) -> Iterator[Finding]:
    for item in listing.items:
        if not item.captions:
            yield Finding("missing caption", (shown(item.name),))
        elif not item.captions[0].text:
            yield Finding("empty caption", (shown(item.name),), shown(item.captions[0].place))


def _cut(items: Sequence[Item], tokenizer: Tokenizer, length: int) -> list[Finding]:
    """A text is cut at `length` tokens if one token more of it shows when one more is allowed."""
    everything = [(item, caption) for item in items for caption in item.captions if caption.text]
    found: list[Finding] = []
    for start in range(0, len(everything), CHUNK):
        chunk = everything[start : start + CHUNK]
        _, mask = tokenizer.encode([caption.text for _, caption in chunk], length + 1)
        for (item, caption), tokens in zip(chunk, mask.sum(dim=1).tolist()):
            if tokens > length:
                found.append(Finding("cut caption", (shown(caption.place),), f"of {shown(item.name)}"))
    return found


def _copies(good: Sequence[tuple[Item, Look]], sides: Sequence[str]) -> Iterator[Finding]:
    """Equal files, equal pixels in different files, near duplicates among different pixels, and leakage by any."""
    names = [shown(item.name) for item, _ in good]
    looks = [look for _, look in good]
    for group in duplicates.equal([look.file for look in looks]):
        yield Finding("equal files", tuple(names[place] for place in group))
    for group in duplicates.equal([look.pixels for look in looks]):
        if len({looks[place].file for place in group}) > 1:
            yield Finding("equal pixels", tuple(names[place] for place in group))
    kin = {look.pixels: look.pixels for look in looks}
    for group in _near(looks):
        yield Finding("near duplicates", tuple(names[place] for place in group))
        kin.update((looks[place].pixels, looks[group[0]].pixels) for place in group)
    for group in duplicates.equal([kin[look.pixels] for look in looks]):
        crossed = sorted({sides[place] for place in group})
        if len(crossed) > 1:
            where = tuple(f"{names[place]} ({sides[place]})" for place in group)
            yield Finding("leakage", where, f"copies in {' and '.join(crossed)}")


def _near(looks: Sequence[Look]) -> list[list[int]]:
    """Groups of places; of pictures with equal pixels only the first takes part."""
    firsts: dict[bytes, int] = {}
    for place, look in enumerate(looks):
        firsts.setdefault(look.pixels, place)
    places = list(firsts.values())
    hashes = np.array([looks[place].hash for place in places], dtype=np.uint64)
    thumbnails = np.array([looks[place].thumbnail for place in places], dtype=np.uint8).reshape(-1, 192)
    return [[places[one] for one in group] for group in duplicates.near(hashes, thumbnails)]


def _losses(good: Sequence[tuple[Item, Look]], size: int) -> Iterator[Finding]:
    for item, look in good:
        short, long = sorted((look.width, look.height))
        if short < size:
            said = f"{look.width} x {look.height}, enlarged {size / short:.1f} times"
            yield Finding("smaller than the model", (shown(item.name),), said)
        if 1 - short / long > HALF:
            said = f"{look.width} x {look.height}, {1 - short / long:.0%} cropped away"
            yield Finding("more than half cropped away", (shown(item.name),), said)


def _shape(looks: Sequence[Look], size: int) -> Shape | None:
    if not looks:
        return None
    sides = np.array([(look.width, look.height) for look in looks], dtype=np.float64)
    short, long = sides.min(axis=1), sides.max(axis=1)
    return Shape(
        width=_spread(sides[:, 0]),
        height=_spread(sides[:, 1]),
        aspect=_spread(sides[:, 0] / sides[:, 1]),
        cropped=_spread(1 - short / long),
        enlarged=int((short < size).sum()),
    )


def _spread(values: np.ndarray) -> Spread:
    return Spread(float(values.min()), float(np.median(values)), float(values.max()))
