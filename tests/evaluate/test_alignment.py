"""CLIPScore and R-precision on embeddings whose answer is known."""

from __future__ import annotations

import pytest
import torch

from limner.core import InputError, Tokenizer
from limner.evaluate.extractors import ImageEncoder
from limner.evaluate.features import ExtractorId, Features, extract
from limner.evaluate.metrics import clip_score, r_precision
from limner.families.clip import CLIP
from limner.judge import Judge
from tests.evaluate.rows import FEW, features

NAMES = [f"prompt {number}" for number in range(40)]
TEXTS = features(torch.eye(40), NAMES)


def test_a_picture_that_is_its_text_scores_two_and_a_half_and_an_opposite_one_nothing():
    assert clip_score(features(3 * torch.eye(40), NAMES), TEXTS, bootstrap=FEW).value == pytest.approx(2.5)
    assert clip_score(features(-torch.eye(40), NAMES), TEXTS, bootstrap=FEW).value == 0
    between = features(torch.eye(40) + torch.eye(40).roll(1, 0), NAMES)
    assert clip_score(between, TEXTS, bootstrap=FEW).value == pytest.approx(2.5 / 2**0.5)


def test_the_right_text_is_found_and_shuffled_texts_are_chance():
    images = features(torch.eye(40) + 0.1 * torch.randn(40, 40), NAMES)
    assert r_precision(images, TEXTS, candidates=10, bootstrap=FEW).value == 1
    generator = torch.Generator().manual_seed(0)
    noise = features(torch.randn(4000, 40, generator=generator), NAMES * 100)
    assert r_precision(noise, TEXTS, candidates=10, bootstrap=FEW).value == pytest.approx(0.1, abs=0.015)


def test_what_is_equally_near_is_chance():
    same = features(torch.ones(40, 40), NAMES)
    assert r_precision(same, TEXTS, candidates=10, bootstrap=FEW).value == pytest.approx(0.1)


def test_order_of_pictures_and_of_texts_plays_no_role():
    images = features(torch.eye(40) + 0.4 * torch.randn(40, 40), NAMES)
    mixed = torch.randperm(40)
    expected = r_precision(images, TEXTS, candidates=20, bootstrap=FEW).value
    assert 0 < expected < 1
    assert r_precision(images[mixed], TEXTS[mixed.flip(0)], candidates=20, bootstrap=FEW).value == pytest.approx(
        expected
    )


def test_what_does_not_go_together_is_an_error():
    images = features(torch.eye(40), NAMES)
    with pytest.raises(InputError, match="the prompt 'prompt 39' has no embedding"):
        clip_score(images, TEXTS[range(39)])
    with pytest.raises(InputError, match="features of given and of other have nothing in common"):
        clip_score(images, features(torch.eye(40), NAMES, ExtractorId("other")))
    with pytest.raises(InputError, match="100 candidates want as many prompts, and there are 40"):
        r_precision(images, TEXTS)


def test_a_clip_s_score_is_what_it_says_as_a_judge(tokenizer: Tokenizer):
    torch.manual_seed(0)
    judge = Judge(CLIP(CLIP.presets["tiny"], tokenizer), name="eye", hash="e7e")
    pictures = [torch.randint(0, 256, (3, 32, 32)) / 127.5 - 1 for _ in NAMES]
    encoder = ImageEncoder.of(judge)
    assert (encoder.id.name, encoder.id.hash) == ("eye", "e7e")
    texts = Features.of(judge.embed_texts(NAMES), encoder.id, prompts=NAMES)
    found = clip_score(extract(encoder, pictures, prompts=NAMES), texts, bootstrap=FEW).value
    cosines = judge.scores(pictures, NAMES)
    assert min(cosines) > 0
    assert found == pytest.approx(2.5 * sum(cosines) / len(cosines), rel=1e-4)
