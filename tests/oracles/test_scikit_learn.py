"""Nearest captions against scikit-learn's TF-IDF. See scikit_learn.txt."""

from __future__ import annotations

import numpy as np
import pytest

from limner.data.scenes import Scenes
from limner.evaluate.suites.captions.nearest_captions import NearestCaptions, words

text = pytest.importorskip("sklearn.feature_extraction.text")


def test_cosines_of_captions_of_scenes():
    train, seen = Scenes("train"), Scenes("seen")
    captions = [train.truth(place).caption for place in range(1000)]
    queries = [seen.truth(place).caption for place in range(50)]
    vectorizer = text.TfidfVectorizer(tokenizer=words, lowercase=False, token_pattern=None)
    weights = vectorizer.fit_transform(captions)
    expected = (vectorizer.transform(queries) @ weights.T).toarray()
    index = NearestCaptions(captions)
    assert np.abs(expected - np.stack([index.cosines(query) for query in queries])).max() < 1e-12
