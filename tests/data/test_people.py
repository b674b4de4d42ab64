"""The order, the splits and the faults of a folder of one's own."""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from limner.core import InputError
from limner.data.people import source as people
from limner.data.people.formats import find
from limner.data.people.source import mixed, open_pictures, permutation
from limner.data.people.splits import PIECE, PIECES, divide, fingerprint
from tests.folders import captioned, encoded, listed, picture, shard

SIZE = 8


def folder(root, count, *, broken=()):
    """Pictures with number captions; those in `broken` are cut in half."""
    listed(root, [{"file_name": f"{one:04}.png", "text": str(one)} for one in range(count)], count=count)
    for number in broken:
        path = root / f"{number:04}.png"
        path.write_bytes(path.read_bytes()[:60])
    return root


def captions(source, start, stop):
    return [source[index].caption for index in range(start, stop)]


def test_splitmix_gives_the_published_numbers():
    state, found = 1234567, []
    for _ in range(5):
        found.append(mixed(state))
        state += 0x9E3779B97F4A7C15
    assert found == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip


def test_a_permutation_is_one_and_each_epoch_and_seed_has_its_own():
    seen = {tuple(permutation(50, seed, epoch).tolist()) for seed in (0, 1, -1) for epoch in (0, 1, 2)}
    assert len(seen) == 9
    assert all(sorted(one) == list(range(50)) for one in seen)
    assert permutation(6, 0, 0).tolist() == PERMUTATION_OF_SIX


PERMUTATION_OF_SIX = [0, 1, 3, 5, 4, 2]
"""Written down once: another version or machine that orders otherwise could not resume a run."""


def test_every_epoch_shows_every_picture_once_and_an_index_is_all_the_state(tmp_path):
    source = open_pictures(folder(tmp_path, 20), size=SIZE, seed=3)
    count = len(source)
    assert count == 19
    first, second = captions(source, 0, count), captions(source, count, 2 * count)
    assert len(set(first)) == count == len(set(second))
    assert first != second
    again = open_pictures(tmp_path, size=SIZE, seed=3)
    assert captions(again, count, 2 * count) == second
    assert torch.equal(again[5].image, source[5].image)
    assert again[5].image.shape == (3, SIZE, SIZE)
    assert again[5].image.dtype == torch.uint8
    assert captions(open_pictures(tmp_path, size=SIZE, seed=4), 0, count) != first


def test_several_captions_take_turns_evenly(tmp_path):
    rows = [{"file_name": f"{one:04}.png", "text": ["a", "b", "c"]} for one in range(4)]
    source = open_pictures(listed(tmp_path, rows, count=4), size=SIZE)
    counted = Counter(captions(source, 0, 300))
    assert set(counted) == {"a", "b", "c"}
    assert min(counted.values()) > 70
    assert sorted(source.captions()) == ["a"] * 3 + ["b"] * 3 + ["c"] * 3


def test_a_picture_without_a_caption_has_the_empty_prompt(tmp_path):
    rows = [{"file_name": "0000.png", "text": ""}, {"file_name": "0001.png"}, {"file_name": "0002.png", "text": "x"}]
    source = open_pictures(listed(tmp_path, rows, count=3), size=SIZE)
    other = open_pictures(tmp_path, size=SIZE, split="validation")
    assert sorted([*captions(source, 0, 2), other[0].caption]) == ["", "", "x"]
    assert [*source.captions(), *other.captions()] == ["x"]


def test_the_folder_s_own_splits_are_kept(tmp_path):
    for split in ("train", "validation", "test"):
        listed(tmp_path / split, [{"file_name": "0000.png", "text": split}], count=1)
    for split in ("train", "validation", "test"):
        assert open_pictures(tmp_path, size=SIZE, split=split)[0].caption == split
    shutil.rmtree(tmp_path / "test")
    with pytest.raises(InputError, match='there is no split "test"; there is train, validation'):
        open_pictures(tmp_path, size=SIZE, split="test")
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(InputError, match='no split "train"'):
        open_pictures(tmp_path, size=SIZE)


def test_a_test_split_is_never_held_out_from(tmp_path):
    folder(tmp_path / "train", 10)
    folder(tmp_path / "test", 3)
    assert Counter(divide(find(tmp_path).items)) == {"train": 9, "validation": 1, "test": 3}


def test_held_out_are_a_twentieth_and_no_duplicate_is_on_both_sides(tmp_path):
    captioned(tmp_path)
    for number in range(10):
        shutil.copy(tmp_path / f"{100 + number:04}.png", tmp_path / f"copy{number}.png")
    listing = find(tmp_path)
    sides = divide(listing.items)
    assert Counter(sides)["validation"] == 10
    on_side = {}
    for item, side in zip(listing.items, sides):
        assert on_side.setdefault(item.read(), side) == side, item.name


def test_held_out_stay_so_when_files_are_renamed_or_added(tmp_path):
    folder(tmp_path / "a", 60)
    held = set(open_pictures(tmp_path / "a", size=SIZE, split="validation").captions())
    assert len(held) == 3
    rows = [json.loads(line) for line in (tmp_path / "a/metadata.jsonl").read_text().splitlines()]
    members = []
    for row in reversed(rows):
        members += [(f"x{row['text']}.png", (tmp_path / "a" / row["file_name"]).read_bytes())]
        members += [(f"x{row['text']}.txt", row["text"].encode())]
    members += [("new.png", encoded(picture(999)[0])), ("new.txt", b"new")]
    source = open_pictures(shard(tmp_path / "b.tar", members), size=SIZE, split="validation")
    assert len(held & set(source.captions())) >= 2


def test_at_most_a_thousand_are_held_out_and_at_least_one(tmp_path):
    items = [find(folder(tmp_path, 2)).items[0]] * 30_000
    assert divide(items, list(range(30_000))).count("validation") == 1000
    assert divide(items[:2], [7, 5]) == ["train", "validation"]
    assert divide(items[:5], [1, 1, 1, 1, 2]) == ["train"] * 4 + ["validation"]
    with pytest.raises(InputError, match="two different ones are needed"):
        divide(items[:3], [1, 1, 1])


def test_a_fingerprint_sees_every_part_of_a_file(tmp_path):
    rows = [{"file_name": f"{one}.png", "text": "x"} for one in range(4)]
    listed(tmp_path, rows, count=0)
    large = bytearray(np.random.default_rng(0).bytes(PIECE * (PIECES + 3)))
    for name, place in (("0", None), ("1", None), ("2", 0), ("3", len(large) - 1)):
        data = bytearray(large)
        if place is not None:
            data[place] ^= 1
        (tmp_path / f"{name}.png").write_bytes(data)
    first, second, third, fourth = map(fingerprint, find(tmp_path).items)
    assert first == second
    assert len({second, third, fourth}) == 3


def test_a_broken_picture_gives_its_place_to_the_next_and_is_named_once(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    source = open_pictures(folder(tmp_path, 20, broken=(3, 11)), size=SIZE)
    assert not caplog.records, "nothing is decoded at opening"
    count = len(source)
    said = captions(source, 0, 2 * count)
    order = [item.captions[0].text for item in source.items]
    for epoch in (0, 1):
        places = [order[one] for one in permutation(count, 0, epoch)]
        for place in range(count):
            good = next(one for one in (places + places)[place:] if one not in ("3", "11"))
            assert said[epoch * count + place] == good
    assert source.broken == len({"3", "11"} & set(order))
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 1
    assert "0003.png" in warned[0] or "0011.png" in warned[0]


def test_where_reading_begins_changes_nothing(tmp_path):
    source = open_pictures(folder(tmp_path, 20, broken=(3, 11)), size=SIZE)
    whole = captions(source, 0, 40)
    for start in (5, 17, 33):
        assert captions(open_pictures(tmp_path, size=SIZE), start, 40) == whole[start:]


def test_more_than_a_fifth_broken_is_an_error_that_names_the_remedy(tmp_path):
    source = open_pictures(folder(tmp_path, 20, broken=range(0, 20, 3)), size=SIZE)
    with pytest.raises(InputError, match="more than 20%; run: limner data check"):
        captions(source, 0, 40)


def test_a_large_folder_is_judged_after_a_hundred(tmp_path, monkeypatch):
    monkeypatch.setattr(people, "JUDGED_AFTER", 10)
    source = open_pictures(folder(tmp_path, 40, broken=range(20)), size=SIZE)
    with pytest.raises(InputError, match=r"of 1\d pictures cannot be read"):
        captions(source, 0, 38)


def test_a_missing_file_and_only_broken_ones(tmp_path):
    folder(tmp_path, 4, broken=range(4))
    (tmp_path / "0002.png").unlink()
    with pytest.raises(InputError, match="limner data check"):
        open_pictures(tmp_path, size=SIZE)[0]


def test_unusable_entries_are_warned_about_or_refused(tmp_path, caplog):
    folder(tmp_path, 20)
    with (tmp_path / "metadata.jsonl").open("a") as file:
        file.write("not json\n")
    open_pictures(tmp_path, size=SIZE)
    assert "1 of 21 entries cannot be used; the first: metadata.jsonl line 21" in caplog.text
    with (tmp_path / "metadata.jsonl").open("a") as file:
        file.write("not json\n" * 8)
    with pytest.raises(InputError, match="9 of 29 entries"):
        open_pictures(tmp_path, size=SIZE)


def test_the_same_pictures_whatever_the_layout(tmp_path):
    """As a metadata list, text files and a tar, one folder gives the same captioned pixels."""
    folder(tmp_path / "list", 12)
    (tmp_path / "texts").mkdir()
    members = []
    for number in range(12):
        data = (tmp_path / f"list/{number:04}.png").read_bytes()
        (tmp_path / f"texts/{number:04}.png").write_bytes(data)
        (tmp_path / f"texts/{number:04}.txt").write_text(str(number))
        members += [(f"{number:04}.png", data), (f"{number:04}.txt", str(number).encode())]
    shard(tmp_path / "shards/00000.tar", members)
    sources = [open_pictures(tmp_path / name, size=SIZE, seed=1) for name in ("list", "texts", "shards")]
    for index in range(11):
        first, *others = (source[index] for source in sources)
        for other in others:
            assert other.caption == first.caption
            assert torch.equal(other.image, first.image)
