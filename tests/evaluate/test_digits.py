"""The reader of digits: what it makes of real pictures, of wrong ones, and of a model that copies or never listens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner import families
from limner.core import InputError
from limner.data.digits import Composition, Digits, Placed, tiles
from limner.evaluate.digits import ROWS, Reading, examine, judge, score, tally
from limner.pipeline import Pipeline
from tests.painter import Config, Painter


def placed(*digits: tuple[int, str, tuple[int, int]]) -> Composition:
    return Composition("", tuple(Placed(digit, place, 1, corner) for digit, place, corner in digits))


SEVEN, THREE = (7, "left", (17, 2)), (3, "right", (17, 30))
BOTH = placed(SEVEN, THREE)


def read(shown: Composition, asked: Composition = BOTH) -> Reading:
    [reading] = score([Digits().render(shown)], [asked])
    return reading


@pytest.mark.parametrize("split", ["seen", "unseen"])
def test_of_real_digits_it_reads_at_least_98_in_a_hundred(split: str) -> None:
    """Drawings that it was not fitted to. Measured with a thousand captions: 99.2 and 98.9 of the digits."""
    digits = Digits(split, seed=1)
    truths = [digits.truth(index) for index in range(400)]
    found = tally(score([digits.render(truth) for truth in truths], truths))
    assert found["digit"].share >= 0.985
    assert found["caption"].share >= 0.975


def test_it_knows_what_is_no_digit() -> None:
    generator = torch.Generator().manual_seed(0)
    blanks = [
        torch.zeros(28, 28),
        torch.ones(28, 28),
        torch.full((28, 28), 0.3),
        torch.rand(28, 28, generator=generator),
    ]
    assert judge().read(torch.stack(blanks)) == [None] * 4


def test_a_fainter_or_a_moved_drawing_reads_the_same() -> None:
    pictures = torch.zeros(10, 28, 28)
    for digit in range(10):
        ink = torch.frombuffer(bytearray(tiles()[digit][1].tobytes()), dtype=torch.uint8).reshape(28, 28) / 255
        pictures[digit] = 0.7 * ink.roll((3, -4), (0, 1))
    assert judge().read(pictures) == list(range(10))


def test_both_digits_must_be_there_in_their_places_and_nothing_else() -> None:
    assert read(BOTH) == Reading(BOTH, (7, 3), 0.0)
    assert read(BOTH).right
    assert read(placed(SEVEN)).read == (7, None)
    assert read(placed((3, *SEVEN[1:]), (7, *THREE[1:]))).digits_right == (False, False)
    corner, opposite = (7, "top left", (1, 2)), (7, "bottom right", (31, 30))
    assert read(placed(corner), placed(corner)).right
    assert not read(placed(opposite), placed(corner)).right
    more = read(placed(corner, opposite), placed(corner))
    assert more.read == (7,)
    assert more.stray == pytest.approx(0.5)
    assert not more.right


def test_other_sizes_and_tensors_read_the_same() -> None:
    picture = Digits().render(BOTH).resize((120, 120))
    tensor = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).reshape(1, 120, 120).expand(3, -1, -1)
    for one in (picture, tensor / 127.5 - 1):
        [reading] = score([one], [BOTH])
        assert reading.right


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(InputError, match="1 pictures for 2 truths"):
        score([torch.zeros(3, 60, 60)], [BOTH, BOTH])
    with pytest.raises(InputError, match=r"not torch.float32 of \(60, 60\)"):
        score([torch.zeros(60, 60)], [BOTH])


class Copyist(Painter):
    """Draws the pictures whose captions it has learnt by heart, and paper where it has not."""

    pictures: dict[str, Tensor]

    def advance(self, sketches):
        for sketch in sketches:
            blank = -torch.ones(3, 60, 60)
            sketch.estimate, sketch.step = self.pictures.get(sketch.request.prompt, blank), sketch.steps


def test_the_examination_counts_captions_and_digits(monkeypatch, tokenizer) -> None:
    monkeypatch.setitem(families.TABLE, "copyist", f"{__name__}:Copyist")
    copyist = Copyist(Config(), tokenizer)
    digits = Digits("unseen", seed=2)
    truths = [digits.truth(index) for index in range(12)]
    learnt = {one.caption: digits[index].image / 127.5 - 1 for index, one in enumerate(truths)}
    copyist.pictures = {caption: learnt[caption] for caption in list(learnt)[:6]}
    shown = []
    table = examine(
        Pipeline(copyist, name="copyist", hash="abc"), split="unseen", prompts=12, seed=2,
        watch=lambda reading, picture: shown.append(reading),
    )  # fmt: skip
    known = [one.caption in copyist.pictures for one in truths]
    assert [reading.right for reading in shown] == known
    assert (table.model["caption"].right, table.model["caption"].trials) == (sum(known), 12)
    assert table.model["digit"].trials == sum(len(one.digits) for one in truths)
    assert table.model["one"].trials + table.model["two"].trials == 12
    assert table.real["caption"].right == 12
    assert table.shuffled["caption"].right < 6
    assert [line[0] for line in table.lines()] == list(ROWS.values())
    assert table.about["split"] == "unseen"
