from __future__ import annotations

import numpy as np
import pytest

from limner.data.scenes.grounds import NAMED, SHADES, VARIANTS, draw_ground
from limner.data.scenes.truth import Ground


def pixels(ground: Ground) -> np.ndarray:
    return np.asarray(draw_ground(ground)).astype(int)


@pytest.mark.parametrize("colour", ["red", "dark blue", "white"])
def test_plain_is_one_colour(colour: str) -> None:
    assert (pixels(Ground(colours=(colour,))) == SHADES[colour]).all()


@pytest.mark.parametrize("direction", ["down", "across"])
def test_gradient_is_linear(direction: str) -> None:
    drawn = pixels(Ground("gradient", ("red", "light blue"), direction))
    first, last = (np.array(SHADES[name]) for name in ("red", "light blue"))
    ramp = first + (last - first) * np.linspace(0, 1, 128)[:, None]
    expected = ramp[:, None] if direction == "down" else ramp[None]
    assert abs(drawn - expected).max() <= 0.5


@pytest.mark.parametrize("name", NAMED)
def test_variants_of_a_named_ground_differ_in_details_only(name: str) -> None:
    drawn = [pixels(Ground(name, (), "", variant)) for variant in range(VARIANTS)]
    for other in drawn[1:]:
        assert 0 < np.sqrt(np.square(drawn[0] - other).mean()) < 40
    means = [one.mean() for one in drawn]
    assert max(means) - min(means) < 6


def test_every_two_grounds_can_be_told_apart() -> None:
    grounds = [Ground(colours=(colour,)) for colour in SHADES] + [Ground(name, ()) for name in NAMED]
    drawn = [pixels(ground) for ground in grounds]
    for place, one in enumerate(drawn):
        for other in drawn[:place]:
            assert np.sqrt(np.square(one - other).mean()) > 20


def test_key_joins_what_training_may_not_tell_apart() -> None:
    down, up = Ground("gradient", ("red", "blue"), "down"), Ground("gradient", ("blue", "red"), "across")
    assert down.key == up.key == "gradient blue red"
    assert Ground("beach", (), "", 3).key == Ground("beach", (), "", 5).key == "beach"
    assert Ground(colours=("green",)).key == "green"
