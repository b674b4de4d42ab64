"""On real scenes, with extractors that need no file: what is worse to look at is worse in numbers."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from limner.data.scenes import Scenes
from limner.evaluate.extractors import Histograms, Pixels, RandomNetwork
from limner.evaluate.features import extract
from limner.evaluate.metrics import frechet_distance, kernel_inception_distance, manifold
from tests.evaluate.rows import FEW

COUNT = 120


@pytest.fixture(scope="module")
def scenes():
    """Two samples of pictures, 64 x 64."""
    source = Scenes("seen", seed=3)
    drawn = [source.render(source.truth(index)).resize((64, 64), Image.Resampling.BOX) for index in range(2 * COUNT)]
    return drawn[:COUNT], drawn[COUNT:]


def measured(extractor, pictures):
    arrays = (torch.from_numpy(np.array(one)).permute(2, 0, 1).float() / 127.5 - 1 for one in pictures)
    return extract(extractor, arrays)


def blurred(pictures, amount):
    return [one.filter(ImageFilter.GaussianBlur(amount)) for one in pictures]


def noisy(pictures, amount):
    random = np.random.default_rng(0)
    noise = (random.normal(0, amount * 12, (64, 64, 3)) for _ in pictures)
    return [
        Image.fromarray((np.asarray(one) + each).clip(0, 255).astype(np.uint8)) for one, each in zip(pictures, noise)
    ]


def compressed(pictures, amount):
    found = []
    for one in pictures:
        file = io.BytesIO()
        one.save(file, "JPEG", quality=int(60 / amount**2))
        found.append(Image.open(file).convert("RGB"))
    return found


@pytest.mark.parametrize("extractor", [RandomNetwork(), Histograms()])
@pytest.mark.parametrize("spoil", [blurred, noisy, compressed])
def test_the_more_pictures_are_spoilt_the_further_they_are(scenes, extractor, spoil):
    """From themselves by the Frechet distance; from other real ones by KID, which has no bias for blur to lessen."""
    real, drawn = (measured(extractor, each) for each in scenes)
    spoilt = [drawn, *(measured(extractor, spoil(scenes[1], amount)) for amount in (1, 2, 4))]
    from_themselves = [frechet_distance(one, drawn, bootstrap=FEW).value for one in spoilt]
    assert from_themselves == sorted(from_themselves)
    assert from_themselves[0] < 1e-6 < 1e-5 < from_themselves[1]
    kid = [kernel_inception_distance(one, real, subsets=1, subset_size=COUNT, bootstrap=FEW).value for one in spoilt]
    assert kid == sorted(kid)


def test_a_model_that_draws_a_few_pictures_only_is_found_out(scenes):
    """Ten pictures, twelve times each: far in distance, and little of the real world is covered."""
    real, drawn = (measured(Pixels(8), each) for each in scenes)
    few = drawn[[k % 10 for k in range(COUNT)]]
    distances = [frechet_distance(one, real, bootstrap=FEW).value for one in (drawn, few)]
    assert distances[1] > 1.3 * distances[0]
    whole, collapsed = manifold(drawn, real, bootstrap=FEW), manifold(few, real, bootstrap=FEW)
    assert collapsed.coverage.value < 0.5 * whole.coverage.value
    assert collapsed.recall.value < 0.2 * whole.recall.value
    assert collapsed.precision.value == pytest.approx(whole.precision.value, abs=0.2)
