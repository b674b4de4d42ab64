"""What remembers is told from what draws: authenticity, C_T, the nearest training pictures, canaries."""

from __future__ import annotations

import pytest
import torch

from limner.core import InputError
from limner.evaluate.metrics import authenticity, data_copying, nearest_ratio, nearest_training, regurgitation
from limner.evaluate.metrics.cells import Cells
from tests.evaluate.rows import FEW, features, normal

TRAIN, HELD_OUT = normal(600, 8, 0), normal(300, 8, 1)
NEW = normal(400, 8, 2)
COPIES = features(TRAIN.values[:400] + 0.01 * normal(400, 8, 3).values)


def test_the_nearest_training_picture_is_found():
    found = nearest_training(COPIES, TRAIN, k=3)
    assert found.places[:, 0].tolist() == list(range(400))
    assert found.distances.shape == (400, 3)
    expected = torch.cdist(COPIES.values, TRAIN.values).sort(1).values[:, :3]
    torch.testing.assert_close(found.distances, expected)


def test_copies_are_nearer_to_one_picture_than_to_any_other():
    assert nearest_ratio(COPIES, TRAIN, bootstrap=FEW).value < 0.05
    assert 0.8 < nearest_ratio(NEW, TRAIN, bootstrap=FEW).value < 1
    assert nearest_ratio(TRAIN, TRAIN, bootstrap=FEW).value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("width", "reflexive"), [(1, 2 / 3), (2, 0.6215)])
def test_new_pictures_are_authentic_unless_each_is_the_others_nearest(width, reflexive):
    """The nearest of a point's nearest is itself by a known chance: 2/3 on a line, 0.6215 in a plane."""
    generator = torch.Generator().manual_seed(width)
    train, new = (features(torch.rand(4000, width, generator=generator, dtype=torch.float64)) for _ in range(2))
    assert authenticity(new, train, bootstrap=FEW).value == pytest.approx(1 - reflexive, abs=0.03)


def test_copies_are_not_authentic():
    found = authenticity(COPIES, TRAIN, bootstrap=FEW)
    assert found.value == 0
    assert 0 < found.interval[1] < 0.02


def test_data_copying_is_nought_for_new_pictures_and_very_negative_for_copies():
    found = [data_copying(normal(200, 8, seed), TRAIN, HELD_OUT, bootstrap=FEW).value for seed in range(10, 22)]
    assert abs(sum(found) / 12) < 1.0
    assert max(map(abs, found)) < 3
    assert data_copying(COPIES, TRAIN, HELD_OUT, bootstrap=FEW).value < -10
    assert data_copying(normal(400, 8, 9, scale=2.0), TRAIN, HELD_OUT, bootstrap=FEW).value > 5


def test_data_copying_of_one_cell_is_mann_and_whitneys_z():
    """Against U counted by hand, in cells which hold all that there is."""
    drawn, train, unseen = normal(60, 2, 4), normal(50, 2, 5), normal(40, 2, 6, scale=1.2)
    cells = Cells(train.values, 3, seed=0)
    found, weights = [], []
    for cell in range(3):
        base = train.values[cells.of_train == cell]
        far, usual = (
            torch.cdist(rows.values[cells.assign(cells.project(rows.values)) == cell], base).amin(1)
            for rows in (drawn, unseen)
        )
        n, m = len(usual), len(far)
        if m >= 20:
            u = float((far[:, None] > usual).sum())
            found.append((u - n * m / 2) / (n * m * (n + m + 1) / 12) ** 0.5)
            weights.append(n)
    assert found
    expected = sum(z * n for z, n in zip(found, weights)) / sum(weights)
    assert data_copying(drawn, train, unseen, bootstrap=FEW).value == pytest.approx(expected)


def test_cells_are_the_clusters():
    place = 50 * torch.eye(3).repeat_interleave(30, 0)
    cells = Cells(normal(90, 3, 0).values + place, 3, seed=0)
    assert [len(set(part)) for part in cells.of_train.reshape(3, 30).tolist()] == [1, 1, 1]
    assert len(set(cells.of_train.tolist())) == 3


def test_too_few_pictures_for_any_cell():
    with pytest.raises(InputError, match="C_T needs 20 generated pictures and a held-out one in some cell"):
        data_copying(normal(9, 8, 0), TRAIN, HELD_OUT)


# ---------------------------------------------------------------------------------------------------
# Canaries.

PLANTED = features(normal(40, 8, 7, scale=1.5).values, [f"canary {number}" for number in range(40)])
TIMES = [0] * 10 + [1] * 10 + [10] * 10 + [100] * 10


def drawings(back):
    """Three for each canary, new ones but for the last of those that come back."""
    values = normal(120, 8, 8).values.reshape(40, 3, 8)
    values[back, 2] = PLANTED.values[back] + 0.01
    return features(values.reshape(120, 8), [f"canary {number}" for number in range(40) for _ in range(3)])


def test_canaries_come_back_as_often_as_they_do():
    back = [25, 29, *range(30, 40)]
    found = regurgitation(drawings(back), PLANTED, TRAIN, copies=TIMES)
    assert {times: one.value for times, one in found.items()} == {0: 0, 1: 0, 10: 0.2, 100: 1}
    assert {(one.n, one.drawings) for one in found.values()} == {(10, 3)}
    assert found[1].interval == pytest.approx((0, 0.2775), abs=1e-3)
    assert found[100].to_json()["value"] == 1


def test_a_canary_without_a_drawing_and_few_training_pictures_are_errors():
    with pytest.raises(InputError, match="no picture was drawn for the canary 'canary 39'"):
        regurgitation(drawings([])[range(117)], PLANTED, TRAIN, copies=TIMES)
    with pytest.raises(InputError, match="regurgitation needs 50 or more pictures, and there are 49"):
        regurgitation(drawings([]), PLANTED, TRAIN[range(49)], copies=TIMES)
    with pytest.raises(InputError, match="there are 2 counts of copies for 40 canaries"):
        regurgitation(drawings([]), PLANTED, TRAIN, copies=[1, 2])
