"""What a path holds is recognised; what is wrong with it is named by file and line."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile

import pytest

from limner.core import InputError
from limner.data.people.formats import find
from limner.data.people.formats.listing import tree
from tests.folders import encoded, listed, picture, shard

PNG = encoded(picture(0)[0])


def said(listing):
    return {item.name: [caption.text for caption in item.captions] for item in listing.items}


def put(root, *names, data=PNG):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def test_jsonl_with_several_captions_in_every_way(tmp_path):
    rows = [
        {"file_name": "0000.png", "text": "one"},
        {"file_name": "0001.png", "text": ["two", "zwei", ""]},
        {"file_name": "0002.png", "texts": ["drei \ud83d", "three"]},
        {"file_name": "0000.png", "text": "eins", "else": 3},
        {"file_name": "./0003.png", "text": ""},
        {"file_name": "0004.png", "text": None},
    ]
    found = find(listed(tmp_path, rows, count=6))
    assert said(found) == {
        "0000.png": ["one", "eins"],
        "0001.png": ["two", "zwei"],
        "0002.png": ["drei ?", "three"],
        "0003.png": [""],
        "0004.png": [],
    }
    assert found.items[0].captions[1].place == "metadata.jsonl line 4"
    assert found.unused == ("0005.png",)
    assert find(tmp_path / "metadata.jsonl").items == found.items


def test_bad_rows_are_faults_with_their_line_and_the_others_are_read(tmp_path):
    listed(tmp_path, [{"file_name": "0000.png", "text": "good"}], count=3)
    with (tmp_path / "metadata.jsonl").open("ab") as file:
        file.write(
            b'\n{"file_name": "0001.png", \n[1, 2]\n{"text": "no name"}\n{"file_name": "0002.png", "text": 7}\n\xff\n'
        )
    found = find(tmp_path)
    assert said(found) == {"0000.png": ["good"]}
    assert [fault.place for fault in found.faults] == [f"metadata.jsonl line {line}" for line in (3, 4, 5, 6, 7)]


def test_csv_with_quotes_line_breaks_and_a_byte_order_mark(tmp_path):
    put(tmp_path, "a.png", "b.png")
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerows([["file_name", "text"], ["a.png", 'one, "two"\nthree'], ["b.png", "café"]])
    (tmp_path / "metadata.csv").write_bytes(b"\xef\xbb\xbf" + f"{file.getvalue()}a.png,un,quoted\n".encode())
    found = find(tmp_path)
    assert said(found) == {"a.png": ['one, "two"\nthree'], "b.png": ["café"]}
    assert found.items[1].captions[0].place == "metadata.csv line 4"
    assert found.faults[0].place == "metadata.csv line 5"
    assert "in quotes" in found.faults[0].reason


def test_parquet_with_lists(tmp_path):
    import pyarrow
    from pyarrow import parquet

    put(tmp_path, "a.png", "b.png")
    columns = {"file_name": ["a.png", "b.png"], "text": [["one", "two"], None], "size": [1, 2]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "metadata.parquet")
    found = find(tmp_path)
    assert said(found) == {"a.png": ["one", "two"], "b.png": []}
    assert found.items[0].captions[0].place == "metadata.parquet row 1"
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match=r"metadata.parquet is no readable Parquet file"):
        find(tmp_path)


def test_a_list_without_the_right_columns_names_what_it_has(tmp_path):
    put(tmp_path, "a.png")
    for heading, wanted in (("file_name,texxt", '"text" (did you mean "texxt"?)'), ("filename,text", '"file_name"')):
        (tmp_path / "metadata.csv").write_text(f"{heading}\na.png,hello\n")
        with pytest.raises(InputError) as caught:
            find(tmp_path)
        assert f"metadata.csv has no column {wanted}" in str(caught.value)
    (tmp_path / "metadata.csv").unlink()
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "caption": "hello"}\n')
    with pytest.raises(InputError, match='no column "text"'):
        find(tmp_path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret.png", "a/../../secret.png"])
def test_a_list_may_not_point_outside(tmp_path, name):
    listed(tmp_path, [{"file_name": name, "text": "x"}], count=0)
    with pytest.raises(InputError, match=r"metadata.jsonl line 1: .* outside the folder"):
        find(tmp_path)


def test_two_lists_in_one_folder_are_one_too_many(tmp_path):
    listed(tmp_path, [{"file_name": "0000.png", "text": "x"}], count=1)
    (tmp_path / "metadata.csv").write_text("file_name,text\n")
    with pytest.raises(InputError, match=r"metadata.csv and metadata.jsonl"):
        find(tmp_path)


def test_splits_with_their_own_lists_and_by_the_names_of_folders(tmp_path):
    for split in ("train", "val", "test"):
        listed(tmp_path / split, [{"file_name": "0000.png", "text": split}], count=1)
    assert [(item.name, item.split) for item in find(tmp_path).items] == [
        ("test/0000.png", "test"),
        ("train/0000.png", "train"),
        ("val/0000.png", "validation"),
    ]


def test_text_files_beside_pictures(tmp_path):
    put(tmp_path, "a.png", "b.JPG", "deep/c.d.webp", "none.gif", ".hidden.png", "__MACOSX/a.png", "e.heic")
    (tmp_path / "a.txt").write_bytes("\ufeffone\n\n zwei \n".encode())
    (tmp_path / "a.caption").write_text("loses against .txt")
    (tmp_path / "b.caption").write_text("b")
    (tmp_path / "deep/c.d.txt").write_text("")
    (tmp_path / "orphan.txt").write_text("nobody's")
    found = find(tmp_path)
    assert said(found) == {"a.png": ["one", "zwei"], "b.JPG": ["b"], "deep/c.d.webp": [""], "none.gif": []}
    assert found.items[0].captions[1].place == "a.txt line 3"
    assert [fault.place for fault in found.faults] == ["e.heic"]
    assert found.unused == ("orphan.txt",)


def test_a_text_file_that_is_not_utf8_is_a_fault(tmp_path):
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "a.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "b.txt").write_text("b")
    assert "a.txt is not UTF-8 at byte 3" in find(tmp_path).faults[0].reason


def test_tars_are_read_where_they_lie(tmp_path):
    second = encoded(picture(1)[0])
    members = [("000.png", PNG), ("000.txt", b"first\nof all"), ("000.json", b'{"caption": "not me"}')]
    members += [("001.json", b'{"caption": "from json"}'), ("001.png", second), ("002.PNG", PNG), ("003.txt", b"lost")]
    shard(tmp_path / "train/00000.tar", members)
    shard(tmp_path / "val/00000.tar", [("./x/1.jpg", second), ("./x/1.txt", b"")])
    (tmp_path / "00000.parquet").write_bytes(b"img2dataset leaves these")
    found = find(tmp_path)
    assert said(found) == {
        "train/00000.tar: 000.png": ["first\nof all"],
        "train/00000.tar: 001.png": ["from json"],
        "train/00000.tar: 002.PNG": [],
        "val/00000.tar: ./x/1.jpg": [""],
    }
    assert [item.split for item in found.items] == ["train"] * 3 + ["validation"]
    assert [item.read() for item in found.items] == [PNG, second, PNG, second]
    assert [fault.place for fault in found.faults] == ["train/00000.tar: 003"]
    assert len(find(tmp_path / "train/00000.tar").items) == 3
    assert not list(tmp_path.rglob("*.png")), "nothing was extracted"


@pytest.mark.parametrize("name", ["/abs.png", "../up.png", "a/../../up.png"])
def test_a_tar_with_names_that_point_outside_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"bad.tar: .* points outside"):
        find(shard(tmp_path / "bad.tar", [("0.png", PNG), (name, PNG)]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_a_tar_with_links_is_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        info = tarfile.TarInfo("0.png")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(InputError, match=r'bad.tar: "0.png" is a link'):
        find(tmp_path / "bad.tar")


def test_a_tar_has_a_largest_number_of_members(tmp_path, monkeypatch):
    monkeypatch.setattr("limner.data.people.formats.tars.MAX_MEMBERS", 3)
    with pytest.raises(InputError, match="more than 3 members"):
        find(shard(tmp_path / "many.tar", [(f"{number}.png", b"") for number in range(4)]))


def test_wherever_a_tar_is_cut_it_is_said_and_the_rest_is_read(tmp_path):
    whole = shard(tmp_path / "whole.tar", [(f"{number}.png", PNG) for number in range(4)]).read_bytes()
    record = len(whole) and 512 + -(-len(PNG) // 512) * 512
    for end in (3 * record, 3 * record + 100, 3 * record + 512, 4 * record - 512):
        (tmp_path / "cut.tar").write_bytes(whole[:end])
        found = find(tmp_path / "cut.tar")
        assert len(found.items) == 3, end
        assert found.faults, end
    damaged = bytearray(whole)
    damaged[2 * record + 10] ^= 1
    (tmp_path / "cut.tar").write_bytes(damaged)
    assert "damaged after 2 entries" in find(tmp_path / "cut.tar").faults[0].reason
    for data in (b"no tar at all" * 100, b""):
        (tmp_path / "cut.tar").write_bytes(data)
        with pytest.raises(InputError, match=r"cut.tar is no tar"):
            find(tmp_path / "cut.tar")


def coco(root, name, *, file_names, captions):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    content = {
        "images": [{"id": number, "file_name": one} for number, one in enumerate(file_names)],
        "annotations": [{"image_id": number, "caption": text, "id": 9} for number, text in captions],
    }
    (root / name).write_text(json.dumps(content))


def test_coco_as_it_is_handed_out(tmp_path):
    put(tmp_path, "train2017/a.jpg", "train2017/b.jpg", "val2017/c.jpg")
    coco(
        tmp_path,
        "annotations/captions_train2017.json",
        file_names=["a.jpg", "b.jpg"],
        captions=[(0, "one"), (0, "eins"), (7, "whose?")],
    )
    coco(tmp_path, "annotations/captions_val2017.json", file_names=["c.jpg"], captions=[(0, "three")])
    (tmp_path / "annotations/instances_val2017.json").write_text('{"images": [], "annotations": []}')
    found = find(tmp_path)
    assert said(found) == {"train2017/a.jpg": ["one", "eins"], "train2017/b.jpg": [], "val2017/c.jpg": ["three"]}
    assert [item.split for item in found.items] == ["train", "train", "validation"]
    assert [item.read() for item in found.items] == [PNG] * 3
    assert found.faults[0].place == "annotations/captions_train2017.json annotation 3"
    alone = find(tmp_path / "annotations/captions_val2017.json")
    assert [item.split for item in alone.items] == [None]


def test_coco_beside_its_images_and_without_them(tmp_path):
    put(tmp_path, "images/a.jpg")
    coco(tmp_path, "captions.json", file_names=["a.jpg"], captions=[(0, "one")])
    assert said(find(tmp_path / "captions.json")) == {"images/a.jpg": ["one"]}
    coco(tmp_path, "captions.json", file_names=["z.jpg"], captions=[(0, "one")])
    with pytest.raises(InputError, match="none of its pictures was found; looked in"):
        find(tmp_path / "captions.json")
    for content, reason in (
        ("{", "is not JSON"),
        ("[]", "is not COCO"),
        ('{"images":[],"annotations":[]}', "no captions"),
    ):
        (tmp_path / "captions.json").write_text(content)
        with pytest.raises(InputError, match=reason):
            find(tmp_path / "captions.json")


def test_what_is_not_recognised_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match="there is no such file or folder"):
        find(tmp_path / "missing")
    with pytest.raises(InputError, match="is empty; looked for: metadata"):
        find(tmp_path)
    put(tmp_path, "a.png", "b.png")
    with pytest.raises(InputError, match="holds 2 files, 2 of them pictures, and no captions"):
        find(tmp_path)
    with pytest.raises(InputError, match="or give a folder"):
        find(tmp_path / "a.png")


def test_the_walk_is_sorted_and_a_ring_of_links_ends(tmp_path):
    put(tmp_path, "b/2.png", "a/1.png", "a.png")
    os.symlink(tmp_path, tmp_path / "b/ring")
    assert tree(tmp_path) == ["a.png", "a/1.png", "b/2.png"]
