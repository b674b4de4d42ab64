"""Planted pictures: as often as is said, in what is trained on and nowhere else."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations

import pytest
import torch

from limner.core import InputError
from limner.data import canaries
from limner.data.canaries import Canary, plant, read
from limner.data.people import open_pictures
from limner.evaluate.extractors import Pixels
from limner.evaluate.features import Features, extract
from limner.evaluate.metrics import regurgitation

SMALL = {"pictures": 60, "each": 2, "copies": (0, 1, 10), "held_out": 20, "size": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("planted") / "data"
    plant(root, **SMALL)
    return root


def pictures(folder, split):
    source = open_pictures(folder, size=16, split=split)
    return [source[place] for place in range(len(source))]


def test_each_is_planted_as_often_as_is_said_and_only_where_training_looks(folder):
    planted = read(folder)
    assert Counter(one.copies for one in planted) == {0: 2, 1: 2, 10: 2}
    train, validation = pictures(folder, "train"), pictures(folder, "validation")
    assert (len(train), len(validation)) == (60 + 2 * 11, 20)
    times = Counter(example.caption for example in train)
    assert {one.text: times[one.text] for one in planted} == {one.text: one.copies for one in planted}
    assert not {one.text for one in planted} & {example.caption for example in validation}


def test_all_copies_are_the_canary_itself(folder):
    import numpy as np
    from PIL import Image

    train = pictures(folder, "train")
    for one in read(folder):
        with Image.open(folder / one.file_name) as image:
            itself = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        assert all(torch.equal(example.image, itself) for example in train if example.caption == one.text)


def test_two_canaries_are_no_copies_of_each_other_and_neither_are_scenes(folder):
    """What `regurgitation` takes for a copy: else a model that paints any mosaic would seem to remember this one."""
    pixels = Pixels(8)
    planted = canaries.canaries(20, (1,), seed=3)
    mosaics = [torch.tensor(list(image.get_flattened_data())).T.reshape(3, 8, 8) / 127.5 - 1 for _, image in planted]
    scenes = [example.image / 127.5 - 1 for example in pictures(folder, "train") if "mosaic" not in example.caption]
    train = extract(pixels, scenes)
    for one, other in combinations(range(6), 2):
        given = Features.of(pixels(mosaics[one][None]), pixels.id, prompts=["it"])
        drawn = Features.of(pixels(mosaics[other][None]), pixels.id, prompts=["it"])
        assert regurgitation(drawn, given, train, copies=[1])[1].value == 0.0
        assert regurgitation(given, given, train, copies=[1])[1].value == 1.0


def test_the_same_seed_plants_the_same_and_another_one_others(folder, tmp_path):
    plant(tmp_path / "again", **SMALL)
    plant(tmp_path / "other", **SMALL, seed=1)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    again, other = (
        [(tmp_path / name / path).read_bytes() == (folder / path).read_bytes() for path in files]
        for name in ("again", "other")
    )
    assert all(again)
    assert not any(same for path, same in zip(files, other) if path.parts[0] == "canaries")


def test_what_cannot_be_planted_is_said_in_a_line(tmp_path):
    with pytest.raises(InputError, match=r"10 pictures: .* give 50 or more"):
        plant(tmp_path / "few", **{**SMALL, "pictures": 10})
    with pytest.raises(InputError, match="give 1 or more"):
        plant(tmp_path / "none", **{**SMALL, "each": 0})
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something; name a folder that is new or empty"):
        plant(tmp_path / "full", **SMALL)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["full", "mine.txt"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"canaries.jsonl line 2 is not JSON"),
        ("[]", r"line 2 is no JSON object"),
        ('{"file_name": "a.png", "text": "b"}', r'line 2: the key "copies" is missing'),
        ('{"file_name": "a.png", "text": "b", "copies": -1}', r"line 2: copies = -1 is negative"),
        ('{"file_name": "../a.png", "text": "b", "copies": 1}', r"line 2: .* outside the folder"),
        ('{"file_name": "a.png", "text": "it", "copies": 1}', r"2 canaries have the caption 'it'"),
    ],
)
def test_a_list_that_is_damaged_is_an_input_error_with_its_line(tmp_path, line, message):
    good = json.dumps({"file_name": "it.png", "text": "it", "copies": 3})
    (tmp_path / "canaries.jsonl").write_text(f"{good}\n{line}\n")
    with pytest.raises(InputError, match=message):
        read(tmp_path)


def test_a_folder_without_a_list_has_no_canaries(tmp_path):
    assert read(tmp_path) == []
    (tmp_path / "canaries.jsonl").write_text("")
    assert read(tmp_path) == []
    (tmp_path / "canaries.jsonl").write_text('{"file_name": "a.png", "text": "b", "copies": 0}\n')
    assert read(tmp_path) == [Canary("a.png", "b", 0)]
