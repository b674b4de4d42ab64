"""Birds (CUB-200-2011) and flowers (Oxford-102) with the ten captions each of Reed, Akata, Lee and Schiele (2016).

    text_c10/CLASS/NAME.txt            a caption a line
    images/CLASS/NAME.jpg              the birds
    jpg/NAME.jpg                       the flowers
    images.txt, bounding_boxes.txt     of the birds: `NUMBER CLASS/NAME.jpg` and `NUMBER LEFT TOP WIDTH HEIGHT`
    testclasses.txt                    the classes that training must not see; trainvalclasses.txt has the others

Each may lie deeper, as several archives unpacked side by side leave them.

The birds are cropped about their boxes, as all who report numbers on them do. The flowers' labels and splits in .mat
files are not read: the captions' folders say the classes.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.core import InputError
from limner.data.people.formats import sidecars
from limner.data.people.formats.listing import Caption, Fault, Item, Listing, decoded, kept
from limner.data.people.pictures import Box

TEXTS = "text_c10"
PICTURES = frozenset({"images", "jpg"})  # other folders hold masks of the same names
LOST = "\N{REPLACEMENT CHARACTER}"  # stands in these captions where a letter was lost long ago


def texts(files: Sequence[str]) -> list[str]:
    """The caption files: text_c10/CLASS/NAME.txt, however deep."""
    return [name for name in files if name.endswith(".txt") and f"/{name}".split("/")[-3:-2] == [TEXTS]]


def read(root: Path, found: Sequence[str], files: Sequence[str]) -> Listing:
    everything = sidecars.pictures(files)
    pictures = {_stem(name): name for name in everything if PICTURES & {*name.split("/")[:-1]}}
    split, faults, items = _split(root, files), list[Fault](), list[Item]()
    boxes = _boxes(root, files, faults)
    unused = {*everything}
    for name in found:
        stem, label = _stem(name), posixpath.basename(posixpath.dirname(name))
        picture = pictures.get(stem)
        if picture is None:
            unused.add(name)
        elif label in split:
            unused.discard(picture)
            if boxes is not None and stem not in boxes:
                faults.append(Fault(picture, "there is no bounding box for it"))
                continue
            said, box = _captions(root / name, name, faults), None if boxes is None else boxes[stem]
            items.append(Item(picture, str(root / picture), said, split.of(label), label=label, box=box))
    layout = f"{len({item.label for item in items})} classes with Reed's captions, {split}"
    layout += ", cropped about their bounding boxes" if boxes is not None else ""
    return Listing(str(root), layout, tuple(items), tuple(faults), tuple(sorted(unused)))


@dataclass(frozen=True, slots=True)
class _Split:
    """The classes to test with and those to train with; None: all others. A class of neither is not used."""

    test: frozenset[str] = frozenset()
    train: frozenset[str] | None = None

    def __contains__(self, label: str) -> bool:
        return self.train is None or label in self.train or label in self.test

    def of(self, label: str) -> str | None:
        """None where there are no lists: the pictures are divided as any others."""
        return "test" if label in self.test else "train" if self.test else None

    def __str__(self) -> str:
        return f"{len(self.test)} of them to test" if self.test else "no testclasses.txt"


def _split(root: Path, files: Sequence[str]) -> _Split:
    test, train = (_classes(root, _only(files, name)) for name in ("testclasses.txt", "trainvalclasses.txt"))
    if train is not None and test is None:
        raise InputError("there is trainvalclasses.txt and no testclasses.txt; add it, or move the first away")
    both = sorted((test or frozenset()) & (train or frozenset()))
    if both:
        raise InputError(f"{both[0]} is in testclasses.txt and in trainvalclasses.txt; a class is of one side alone")
    return _Split(test or frozenset(), train)


def _classes(root: Path, name: str | None) -> frozenset[str] | None:
    if name is None:
        return None
    lines = decoded((root / name).read_bytes(), name).splitlines()
    return frozenset(line.strip() for line in lines if line.strip())


def _boxes(root: Path, files: Sequence[str], faults: list[Fault]) -> Mapping[str, Box] | None:
    """By the pictures' names without suffix; None where the data have none."""
    names, boxes = _only(files, "images.txt"), _only(files, "bounding_boxes.txt")
    if boxes is None:
        return None
    if names is None:
        raise InputError(f"{boxes} needs images.txt beside it, which says whose boxes they are; add it")
    stems = {number: _stem(rest[0]) for _, number, rest in _rows(root / names, names, 1, faults)}
    found: dict[str, Box] = {}
    for place, number, rest in _rows(root / boxes, boxes, len(Box._fields), faults):
        try:
            box = Box(*map(float, rest))
        except ValueError:
            faults.append(Fault(place, f'"{" ".join(rest)}" are not four numbers'))
            continue
        if number in stems:
            found[stems[number]] = box
        else:
            faults.append(Fault(place, f"there is no picture {number} in images.txt"))
    return found


def _rows(path: Path, name: str, values: int, faults: list[Fault]) -> Iterator[tuple[str, str, list[str]]]:
    """The place, the number and the values of each line that is not empty."""
    for line, text in enumerate(decoded(path.read_bytes(), name).splitlines(), 1):
        number, *rest = text.split() or [""]
        if len(rest) == values:
            yield f"{name} line {line}", number, rest
        elif number:
            faults.append(Fault(f"{name} line {line}", f"it has {len(rest)} values after the number, not {values}"))


def _captions(path: Path, name: str, faults: list[Fault]) -> tuple[Caption, ...]:
    try:
        lines = sidecars.lines(path, name)
    except InputError as error:
        faults.append(Fault(name, str(error)))
        return ()
    return kept(Caption(" ".join(text.replace(LOST, " ").split()), place) for text, place in lines)


def _only(files: Sequence[str], base: str) -> str | None:
    """The one file of this name, wherever it lies."""
    found = [name for name in files if posixpath.basename(name) == base]
    if len(found) > 1:
        raise InputError(f"{found[0]} and {found[1]}: one data set has one {base}; give the folder of one of them")
    return found[0] if found else None


def _stem(name: str) -> str:
    return posixpath.splitext(posixpath.basename(name))[0]
