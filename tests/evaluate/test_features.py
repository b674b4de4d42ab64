"""What extractors hand to metrics: rows that know where they are from, and pictures of any sizes."""

from __future__ import annotations

import pytest
import torch

from limner.core import InputError
from limner.evaluate.extractors import DualEncoder, Histograms, ImageEncoder, Pixels, RandomNetwork
from limner.evaluate.features import ExtractorId, Features, extract, extract_all
from limner.evaluate.metrics import frechet_distance
from tests.evaluate.rows import features, normal


def pictures(count, height=40, width=40, seed=0):
    return list(torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1)


@pytest.mark.parametrize("extractor", [Pixels(8), Histograms(), RandomNetwork()])
def test_a_pictures_features_are_its_own_whatever_batch_it_is_in(extractor):
    given = pictures(5) + pictures(3, 24, 60, seed=1) + pictures(1)
    alone = extract(extractor, given, batch=1)
    together = extract(extractor, iter(given), batch=4, prompts=list("abcdefghi"), seeds=range(9))
    torch.testing.assert_close(alone.values, together.values, rtol=1e-5, atol=1e-6)
    assert len(together) == 9
    assert together.extractor == extractor.id
    assert together[[2, 0]].prompts == ("c", "a")
    assert together[[2, 0]].seeds == (2, 0)


def test_an_encoder_of_somebodys_gets_its_own_size_and_scale():
    seen = []
    extractor = ImageEncoder(
        lambda pixels: seen.append(pixels) or pixels.mean((2, 3)), name="mean", side=16, mean=(1.0, 0.0, 0.0),
        spread=(1.0, 2.0, 1.0),
    )  # fmt: skip
    white = extract(extractor, [torch.ones(3, 50, 30)])
    assert seen[0].shape == (1, 3, 16, 16)
    assert white.values.tolist() == [[0.0, 0.5, 1.0]]


def test_several_extractors_read_pictures_that_come_once():
    extractors = [Pixels(2), RandomNetwork(), Histograms()]
    pictures = [torch.rand(3, size, size) for size in (8, 8, 16, 8)]
    prompts, seeds = ["a", "a", "b", "c"], [4, 5, 6, 7]
    together = extract_all(extractors, iter(pictures), prompts=prompts, seeds=seeds)
    for extractor, found in zip(extractors, together, strict=True):
        alone = extract(extractor, pictures, prompts=prompts, seeds=seeds)
        assert torch.equal(found.values, alone.values)
        assert (found.extractor, found.prompts, found.seeds) == (extractor.id, alone.prompts, alone.seeds)
    renamed = together[0].said(["x", "y", "x", "y"])
    assert renamed.groups == {"x": [0, 2], "y": [1, 3]}
    assert torch.equal(renamed.values, together[0].values)


def test_a_dual_encoder_puts_pictures_and_words_into_one_space():
    def brightness(images):
        return torch.stack([images.mean((1, 2, 3)), images.std((1, 2, 3))], dim=1)

    pictures = ImageEncoder(brightness, name="brightness and length", side=4, hash="ab" * 32)
    encoder = DualEncoder(pictures, lambda texts: torch.tensor([[len(text), 1.0] for text in texts]))
    images = extract(encoder, [torch.full((3, 4, 4), 1.0), torch.full((3, 8, 8), -1.0)], prompts=["abc", "de"])
    texts = encoder.texts(["abc", "de", "abc"])
    assert images.values.tolist() == [[1.0, 0.0], [-1.0, 0.0]]
    assert (texts.prompts, texts.values.tolist()) == (("abc", "de"), [[3.0, 1.0], [2.0, 1.0]])
    assert images.extractor == texts.extractor == pictures.id


def test_features_and_their_prompts_belong_together():
    assert features(torch.zeros(3, 2)).prompts == ("0", "1", "2")
    with pytest.raises(InputError, match="there are 1 prompts for 3 rows"):
        features(torch.zeros(3, 2), ["a"])
    with pytest.raises(InputError, match="there are 2 seeds for 3 rows"):
        Features.of(torch.zeros(3, 2), ExtractorId("given"), seeds=(1, 2))
    with pytest.raises(InputError, match=r"features are \(N, D\), not \(3,\)"):
        features(torch.zeros(3), ["a"] * 3)
    with pytest.raises(InputError, match="hold numbers that are not finite"):
        features([[float("nan")]])


def test_no_pictures_and_no_pictures_at_all():
    with pytest.raises(InputError, match="there are no pictures to extract features from"):
        extract(Pixels(), [])
    with pytest.raises(InputError, match=r"a picture is floats of \(3, height, width\), not torch.uint8 \(3, 4, 4\)"):
        extract(Pixels(), [torch.zeros(3, 4, 4, dtype=torch.uint8)])


def test_features_of_two_extractors_are_not_compared():
    with pytest.raises(InputError, match=r"features of given and of pixels 8 x 8 .* have nothing in common"):
        frechet_distance(normal(9, 192, 0), features(torch.zeros(9, 192), extractor=Pixels().id))
