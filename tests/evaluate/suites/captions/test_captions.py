"""The suite `captions`: on a model that draws the very pictures it is asked for, every number is known beforehand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from limner import families
from limner.core import InputError, Sketch
from limner.data.canaries import plant, read
from limner.data.people import open_pictures
from limner.evaluate.bootstrap import Bootstrap
from limner.evaluate.extractors import DualEncoder, ImageEncoder, Pixels, signed
from limner.evaluate.suites.captions import contenders
from limner.evaluate.suites.captions.real import caption, gather
from limner.evaluate.suites.captions.suite import COLUMNS, captions
from limner.pipeline import Pipeline
from tests.folders import encoded, picture
from tests.painter import Config, Painter, painter

__all__ = ["painter"]

SIDE = 8  # of the painter's pictures
FEW = Bootstrap(resamples=8)
MODEL, REAL, OTHER, NEAREST, MEAN = COLUMNS


class Recaller(Painter):
    """Gives back the picture that it knows for a prompt, and grey for others."""

    def __init__(self, config, tokenizer):
        super().__init__(config, tokenizer)
        self.known = {}

    def know(self, folder, split):
        for item in open_pictures(folder, size=SIDE, split=split).items:
            self.known[caption(item)] = signed(_levels(item.path))

    def begin(self, requests):
        return [Sketch(request=one, generator=torch.Generator(), steps=1) for one in requests]

    def advance(self, sketches):
        for sketch in sketches:
            sketch.estimate = self.known.get(sketch.request.prompt, torch.zeros(3, SIDE, SIDE))
            sketch.step += 1


@pytest.fixture
def recaller(monkeypatch, tokenizer):
    monkeypatch.setitem(families.TABLE, "recaller", f"{__name__}:Recaller")
    return Recaller(Config(), tokenizer)


def knowing(known):
    """A CLIP that tells each picture it knows from all others, and each prompt: what is right is 1, the rest 0."""
    prompts, pictures = list(known), torch.stack(list(known.values())).flatten(1)
    one_hot = torch.eye(len(prompts))

    def embed_images(images):
        return one_hot[torch.cdist(images.flatten(1), pictures).argmin(1)]

    def embed_texts(texts):
        return one_hot[[prompts.index(text) for text in texts]]

    return DualEncoder(ImageEncoder(embed_images, name="knowing", side=SIDE), embed_texts)


def folder_of(root, *, train=60, validation=24, said=lambda number, text: text):
    """Pictures of the model's size, so that a file holds exactly what is drawn."""
    rows = []
    for number in range(train + validation):
        name = f"{'train' if number < train else 'validation'}/{number:04}.png"
        image, text = picture(number, width=SIDE, height=SIDE)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(image))
        rows.append({"file_name": name, "text": said(number, text)})
    (root / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return root


def _levels(path):
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("captions") / "data")


def values(report, asks):
    """{(metric, extractor): {contender: value}}"""
    return {
        (row["metric"], row["extractor"]): {name: cell["value"] for name, cell in row["cells"].items()}
        for row in report.data["rows"][asks]
    }


def test_a_model_that_draws_the_real_pictures_has_their_numbers(data, recaller):
    recaller.know(data, "validation")
    clip = knowing(recaller.known)
    report = captions(Pipeline(recaller, name="recaller"), data, clip=clip, bootstrap=FEW)
    found = {key: row for asks in report.data["rows"] for key, row in values(report, asks).items()}
    beside = {key: row for key, row in found.items() if "within" not in key[0]}
    assert {metric for metric, _ in beside} == {
        "Frechet distance", "KID", "precision", "recall", "density", "coverage", "CMMD", "CLIPScore", "R-precision",
        "Vendi score", "nearest training ratio", "authenticity", "C_T",
    }  # fmt: skip
    for row in beside.values():
        assert list(row) == list(COLUMNS)
        assert row[MODEL] == pytest.approx(row[REAL], abs=1e-12) if row[MODEL] is not None else row[REAL] is None
    near = found["CLIPScore", "knowing"]
    assert (near[MODEL], near[REAL], near[OTHER]) == (2.5, 2.5, 0.0)
    assert max(near[NEAREST], near[MEAN]) < 2.5
    assert found["R-precision", "knowing"][MODEL] == 1.0
    assert found["diversity within a prompt", "pixels 8 x 8"] == pytest.approx({MODEL: 0.0}, abs=1e-6)
    differences = [
        row["model_less"][REAL] for rows in report.data["rows"].values() for row in rows if row["model_less"]
    ]
    assert differences
    assert not any(one["called"] for one in differences)


def test_one_who_was_stopped_draws_only_what_is_missing(data, painter, tmp_path):
    whole = captions(Pipeline(painter), data, bootstrap=FEW)
    with pytest.raises(KeyboardInterrupt):
        captions(Pipeline(painter), data, bootstrap=FEW, folder=tmp_path / "out", watch=stop_after(10))
    before = len(list((tmp_path / "out/drawn").iterdir()))
    assert 10 <= before < whole.data["captions"] * whole.data["pictures_of_each"]
    painter.together.clear()
    again = captions(Pipeline(painter), data, bootstrap=FEW, folder=tmp_path / "out")
    assert len(list((tmp_path / "out/drawn").iterdir())) == whole.data["captions"] * whole.data["pictures_of_each"]
    steps = 3
    assert sum(painter.together) == steps * (whole.data["captions"] * whole.data["pictures_of_each"] - before)
    assert again.data["rows"] == whole.data["rows"]
    with pytest.raises(InputError, match=r"000000.png was drawn with seed = 0, not 1; choose another --out"):
        captions(Pipeline(painter), data, seed=1, bootstrap=FEW, folder=tmp_path / "out")


def stop_after(pictures):
    def watch(what, done, total):
        if what == "drawing" and done == pictures:
            raise KeyboardInterrupt

    return watch


def test_training_pictures_are_told_from_others(data, painter):
    report = captions(Pipeline(painter), data, bootstrap=FEW)
    for extractor in ("random convolutions, seed 0", "pixels 8 x 8"):
        row = values(report, "memorisation")["authenticity", extractor]
        assert row[NEAREST] == 0.0
        assert row[REAL] > 0.2
        near = values(report, "fidelity")["Frechet distance", extractor]
        assert near[REAL] < near[MODEL]  # noise
        assert near[REAL] == pytest.approx(near[OTHER])  # the same pictures for other captions
    assert values(report, "alignment") == {}


def test_the_report_is_written_with_all_that_was_found(data, painter, tmp_path):
    clip = DualEncoder(Pixels(1), lambda texts: torch.eye(3)[[number % 3 for number in range(len(texts))]])
    told = []
    report = captions(
        Pipeline(painter, name="painter", hash="ab" * 32), data, count=8, copies=3, seed=11, knobs={"steps": 1},
        clip=clip, bootstrap=FEW, watch=lambda *one: told.append(one),
    )  # fmt: skip
    report.write(tmp_path)
    found = json.loads((tmp_path / "report.json").read_text())
    assert (found["captions"], found["pictures_of_each"], found["reference"], found["training"]) == (8, 3, 16, 60)
    assert (found["seeds"], found["knobs"]["steps"], found["canaries"]) == ("11-34", 1, None)
    [first, *_] = found["rows"]["fidelity"]
    assert first["cells"][MODEL]["seeds"] == "11, 14, 17, 20, 23, 26, 29, 32"  # the first picture of each caption
    markdown = (tmp_path / "report.md").read_text()
    for word in (*COLUMNS, "The best by CLIPScore", "The worst by CLIPScore", "nearest to one of the training", "none"):
        assert word in markdown
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 4
    assert [one for one in told if one[1] == one[2]] == [
        ("reading", 24, 24), ("reading", 60, 60), ("drawing", 24, 24), ("measuring", 4, 4),
    ]  # fmt: skip


def test_the_same_seed_gives_the_same_numbers(data, painter):
    one, same, other = (captions(Pipeline(painter), data, seed=seed, bootstrap=FEW).data["rows"] for seed in (3, 3, 4))
    assert one == same
    assert one != other


def test_captions_with_several_pictures_have_the_error_from_their_mean(tmp_path, recaller):
    data = folder_of(tmp_path, said=lambda number, text: text.split(" on ")[0])
    recaller.know(data, "validation")
    report = captions(Pipeline(recaller), data, bootstrap=FEW)
    row = values(report, "alignment")["error from the conditional mean", "pixels 8 x 8"]
    assert row[MEAN] < row[REAL] < row[OTHER]


def test_a_picture_that_cannot_be_read_is_left_out(tmp_path, painter):
    data = folder_of(tmp_path)
    for name in ("train/0003.png", "validation/0070.png"):
        (data / name).write_bytes((data / name).read_bytes()[:60])
    report = captions(Pipeline(painter), data, bootstrap=FEW)
    assert (report.data["captions"], report.data["reference"], report.data["training"]) == (12, 11, 59)


# ---------------------------------------------------------------------------------------------------
# Canaries.


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    root = tmp_path_factory.mktemp("canaries") / "data"
    plant(root, pictures=60, each=2, copies=(0, 1, 3), held_out=16, size=SIDE)
    return root


def test_canaries_that_come_back_are_counted_by_how_often_they_were_planted(planted, recaller):
    canaries = read(planted)
    recaller.know(planted, "train")
    once = [one.text for one in canaries if one.copies == 1]
    recaller.known[once[0]] = torch.full((3, SIDE, SIDE), 0.5)
    report = captions(Pipeline(recaller), planted, bootstrap=FEW)
    found = {row["copies"]: (row["value"], row["n"], row["drawings"]) for row in report.data["canaries"]}
    assert found == {0: (0.0, 2, 4), 1: (0.5, 2, 4), 3: (1.0, 2, 4)}
    [section] = [one for one in report.sections if one.heading == "Planted pictures"]
    assert [row[:3] for row in section.rows] == [["0", "2", "0%"], ["1", "2", "50%"], ["3", "2", "100%"]]
    assert section.pictures


def test_a_list_of_canaries_that_the_training_pictures_belie_is_an_input_error(planted, painter, tmp_path):
    import shutil

    shutil.copytree(planted, tmp_path / "data")
    listing = tmp_path / "data/canaries.jsonl"
    listing.write_text(listing.read_text().replace('"copies": 3', '"copies": 2', 1))
    with pytest.raises(InputError, match=r"planted 2 times, and the training pictures have it 3 times"):
        captions(Pipeline(painter), tmp_path / "data", bootstrap=FEW)
    listing.write_text(listing.read_text().replace('"copies": 2', '"copies": 3', 1))
    (tmp_path / "data/canaries/000.png").unlink()
    with pytest.raises(InputError, match=r"canaries/000.png: there is no such file"):
        captions(Pipeline(painter), tmp_path / "data", bootstrap=FEW)


# ---------------------------------------------------------------------------------------------------
# Too little of something: said in one line, before anything is drawn.


@pytest.mark.parametrize(
    ("sizes", "asked", "message"),
    [
        ({"validation": 11}, {}, r"validation split has 11 pictures with captions; the metrics need 12"),
        ({"validation": 0, "train": 40}, {}, r"validation split has 2 pictures with captions"),
        ({"train": 5}, {}, r"5 training pictures can be read; 6 are needed"),
        ({}, {"count": 19}, r"has 24 pictures with captions, and 6 .*: 18 can be drawn for, not 19"),
        ({}, {"count": 3}, r"3 captions to draw for: the metrics need 6 or more"),
        ({}, {"copies": 0}, r"0 pictures of each caption: draw 1 or more"),
        ({}, {"training": 2}, r"2 training pictures to look at: give 6 or more"),
        ({"said": lambda number, text: "a picture"}, {}, r"all 12 captions are 'a picture'; two different"),
        ({"said": lambda number, text: ""}, {}, r"validation split has 0 pictures with captions"),
        ({"train": 0}, {}, r'there is no split "train"; there is validation'),
    ],
)
def test_too_few_pictures_are_an_input_error_before_anything_is_drawn(tmp_path, painter, sizes, asked, message):
    data = folder_of(tmp_path / "data", **sizes)
    with pytest.raises(InputError, match=message) as caught:
        captions(Pipeline(painter), data, bootstrap=FEW, **asked)
    assert "\n" not in str(caught.value)
    assert painter.together == []


# ---------------------------------------------------------------------------------------------------
# The parts.


def test_another_caption_is_never_the_same():
    said = ["a", "a", "b", "c", "a"]
    assert [said[place] for place in contenders.another(said)] == ["b", "b", "c", "a", "b"]
    assert contenders.another(["a", "b", "c"]) == [1, 2, 0]


def test_nearest_by_caption_names_pictures_and_not_captions(tmp_path):
    rows = [
        {"file_name": "0000.png", "texts": ["a red star", "a star that is red", "one red star"]},
        {"file_name": "0001.png", "texts": ["a red boat", "a boat"]},
        {"file_name": "0002.png", "text": ""},
        {"file_name": "0003.png", "text": "a green star"},
        {"file_name": "0004.png", "text": "a dog"},
    ]
    (tmp_path / "train").mkdir()
    (tmp_path / "validation").mkdir()
    for number in range(6):
        split = "train" if number < 5 else "validation"
        (tmp_path / split / f"{number:04}.png").write_bytes(encoded(picture(number)[0]))
    listed = [{**row, "file_name": f"train/{row['file_name']}"} for row in rows]
    listed.append({"file_name": "validation/0005.png", "text": "x"})
    (tmp_path / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in listed))
    train = gather(open_pictures(tmp_path, size=SIDE), [Pixels(2)], most=10)
    found = contenders.nearest_by_caption(["green star", "boat"], train, 3)
    names = [[train.items[row].name[-8:-4] for row in places] for places in found]
    assert names[0][:2] == ["0003", "0000"]
    assert names[1][0] == "0001"
    assert all(len(set(places)) == 3 for places in names)
