"""Birds and flowers with Reed's captions, in small copies of what is handed out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.core import Batch, InputError
from limner.data.people import open_pictures
from limner.data.people.formats import find
from limner.data.people.pictures import Box, UnreadableError, around
from limner.data.people.source import Pictures
from tests.folders import encoded

BIRDS = {"001.Albatross": 3, "002.Auklet": 2, "003.Kingfisher": 2}


def bird(number: int) -> Image.Image:
    """40 x 30 noise, with a red subject 8 wide and 12 high at (20, 10)."""
    pixels = np.random.default_rng(number).integers(0, 100, (30, 40, 3), dtype=np.uint8)
    pixels[10:22, 20:28] = (220, 0, 0)
    return Image.fromarray(pixels)


def write(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def birds(root: Path) -> Path:
    """CUB_200_2011/ as its archive leaves it, with masks, beside cvpr2016_cub/ with the captions and the classes."""
    names, boxes, number = [], [], 0
    for label, count in BIRDS.items():
        for _ in range(count):
            number += 1
            name = f"{label}/{label[4:]}_{number:04}_79{number}"
            write(root / f"CUB_200_2011/images/{name}.jpg", encoded(bird(number), "JPEG", quality=95))
            write(root / f"CUB_200_2011/segmentations/{name}.png", encoded(Image.new("L", (40, 30)), "PNG"))
            write(
                root / f"cvpr2016_cub/text_c10/{name}.txt",
                f"a red bird, number {number}\nit has a \ufffd\ufffdred beak\n",
            )
            names.append(f"{number} {name}.jpg\n")
            boxes.append(f"{number} 20.0 10.0 8.0 12.0\n")
    write(root / "CUB_200_2011/images.txt", "".join(names))
    write(root / "CUB_200_2011/bounding_boxes.txt", "".join(boxes))
    write(root / "CUB_200_2011/README", "nothing to see")
    write(root / "cvpr2016_cub/testclasses.txt", "002.Auklet\n")
    write(root / "cvpr2016_cub/trainvalclasses.txt", "001.Albatross\n003.Kingfisher\n")
    return root


def flowers(root: Path) -> Path:
    """jpg/ as Oxford's archive leaves it, with the labels that are not read, and Reed's captions by class."""
    for number, label in ((1, 77), (2, 77), (3, 5), (4, 5)):
        write(root / f"jpg/image_{number:05}.jpg", encoded(bird(number), "JPEG"))
        write(root / f"text_c10/class_{label:05}/image_{number:05}.txt", f"petals, number {number}\nsmall and yellow\n")
    write(root / "imagelabels.mat", b"MATLAB 5.0 MAT-file")
    write(root / "setid.mat", b"MATLAB 5.0 MAT-file")
    return root


def test_birds_with_their_boxes_captions_and_classes(tmp_path: Path) -> None:
    found = find(birds(tmp_path))
    assert "3 classes with Reed's captions, 1 of them to test, cropped about their bounding boxes" in found.layout
    assert not found.faults
    assert [item.label for item in found.items] == [label for label, count in BIRDS.items() for _ in range(count)]
    first = found.items[0]
    assert first.name == "CUB_200_2011/images/001.Albatross/Albatross_0001_791.jpg"
    assert first.box == Box(20.0, 10.0, 8.0, 12.0)
    assert [caption.text for caption in first.captions] == ["a red bird, number 1", "it has a red beak"]
    assert first.captions[1].place == "cvpr2016_cub/text_c10/001.Albatross/Albatross_0001_791.txt line 2"
    assert {item.label for item in found.items if item.split == "test"} == {"002.Auklet"}
    assert len(found.unused) == 7  # the masks
    assert all("segmentations" in name for name in found.unused)


def test_no_class_is_on_both_sides(tmp_path: Path) -> None:
    sides = {split: open_pictures(birds(tmp_path), size=16, split=split) for split in ("train", "validation", "test")}
    labels = {split: {item.label for item in source.items} for split, source in sides.items()}
    assert labels["test"] == {"002.Auklet"}
    assert not labels["test"] & (labels["train"] | labels["validation"])
    assert sum(len(source) for source in sides.values()) == 7


def test_birds_are_drawn_about_their_boxes_and_carry_their_class(tmp_path: Path) -> None:
    """The subject is 8 x 12 of a square of 18: three tenths of what is seen, and a thirteenth of the whole picture."""
    source = open_pictures(birds(tmp_path), size=18)
    example = source[0]
    assert example.image.shape == (3, 18, 18)
    red = (example.image[0] > 150) & (example.image[1] < 60)
    assert 0.2 < red.float().mean() < 0.4
    batch = Batch.of([source[index] for index in range(4)])
    assert set(batch.labels) <= {*BIRDS} - {"002.Auklet"}
    assert batch.labels[0] == example.label


def test_flowers_have_their_classes_from_the_captions_folders(tmp_path: Path) -> None:
    found = find(flowers(tmp_path))
    assert [(item.name, item.label, item.split, item.box) for item in found.items] == [
        ("jpg/image_00003.jpg", "class_00005", None, None),
        ("jpg/image_00004.jpg", "class_00005", None, None),
        ("jpg/image_00001.jpg", "class_00077", None, None),
        ("jpg/image_00002.jpg", "class_00077", None, None),
    ]
    assert "2 classes with Reed's captions, no testclasses.txt" in found.layout
    write(tmp_path / "testclasses.txt", "class_00077\n")
    assert [item.split for item in find(tmp_path).items] == ["train", "train", "test", "test"]
    assert isinstance(open_pictures(tmp_path, size=8, split="test"), Pictures)


def test_a_box_is_widened_to_a_square_that_ends_with_the_picture() -> None:
    image = Image.new("RGB", (100, 60))
    assert around(image, Box(40, 20, 20, 10)).size == (30, 30)  # 2 * 0.75 * 20
    assert around(image, Box(0, 0, 20, 10)).size == (25, 20)  # from the corner: 10 + 15 by 5 + 15
    assert around(image, Box(0, 0, 100, 60)).size == (100, 60)
    with pytest.raises(UnreadableError, match="lies outside its 100 x 60 pixels"):
        around(image, Box(300, 0, 10, 10))


def test_what_is_missing_or_malformed_is_named(tmp_path: Path) -> None:
    birds(tmp_path)
    cub = tmp_path / "CUB_200_2011"
    (cub / "images/001.Albatross/Albatross_0001_791.jpg").unlink()
    lines = (cub / "bounding_boxes.txt").read_text().splitlines()
    (cub / "bounding_boxes.txt").write_text("\n".join([lines[0], "2 1.0 2.0", "3 a b c d", "99 1 2 3 4", *lines[3:]]))
    found = find(tmp_path)
    assert len(found.items) == 4
    assert "cvpr2016_cub/text_c10/001.Albatross/Albatross_0001_791.txt" in found.unused
    assert [fault.place for fault in found.faults] == [
        "CUB_200_2011/bounding_boxes.txt line 2",
        "CUB_200_2011/bounding_boxes.txt line 3",
        "CUB_200_2011/bounding_boxes.txt line 4",
        "CUB_200_2011/images/001.Albatross/Albatross_0002_792.jpg",
        "CUB_200_2011/images/001.Albatross/Albatross_0003_793.jpg",
    ]
    (cub / "images.txt").unlink()
    with pytest.raises(InputError, match=r"bounding_boxes.txt needs images.txt beside it"):
        find(tmp_path)


def test_class_lists_that_contradict_one_another_are_refused(tmp_path: Path) -> None:
    birds(tmp_path)
    lists = tmp_path / "cvpr2016_cub"
    (lists / "trainvalclasses.txt").write_text("001.Albatross\n002.Auklet\n")
    with pytest.raises(InputError, match=r"002.Auklet is in testclasses.txt and in trainvalclasses.txt"):
        find(tmp_path)
    (lists / "trainvalclasses.txt").write_text("001.Albatross\n")
    found = find(tmp_path)  # of the kingfishers no list says anything: they are not used
    assert {item.label for item in found.items} == {"001.Albatross", "002.Auklet"}
    assert sum("images/003.Kingfisher" in name for name in found.unused) == 2
    (lists / "testclasses.txt").unlink()
    with pytest.raises(InputError, match=r"trainvalclasses.txt and no testclasses.txt"):
        find(tmp_path)
    write(tmp_path / "flowers/testclasses.txt", "class_00001\n")
    write(lists / "testclasses.txt", "002.Auklet\n")
    with pytest.raises(InputError, match=r"one data set has one testclasses.txt; give the folder of one of them"):
        find(tmp_path)
