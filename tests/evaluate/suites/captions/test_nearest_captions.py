"""Captions that are like a caption: against the formula written out, and in cases that a person can check."""

from __future__ import annotations

import math
import random
import re
from collections import Counter

import numpy as np
import pytest

from limner.core import InputError
from limner.evaluate.suites.captions.nearest_captions import NearestCaptions


def slowly(captions, query):
    """TF-IDF and cosine, a caption at a time."""
    texts = [Counter(re.findall(r"\w+|[^\w\s]", one.lower())) for one in captions]
    having = Counter(word for text in texts for word in text)
    rarity = {word: math.log((1 + len(texts)) / (1 + many)) + 1 for word, many in having.items()}
    asked = Counter(word for word in re.findall(r"\w+|[^\w\s]", query.lower()) if word in having)

    def length(text):
        return math.sqrt(sum((often * rarity[word]) ** 2 for word, often in text.items()))

    return [
        sum(often * text[word] * rarity[word] ** 2 for word, often in asked.items()) / (length(asked) * length(text))
        for text in texts
    ]


def test_cosines_are_those_of_the_formula():
    dice = random.Random(0)
    vocabulary = [f"word{number}" for number in range(60)]
    captions = [" ".join(dice.choices(vocabulary, k=dice.randint(1, 12))) for _ in range(200)]
    index = NearestCaptions(captions)
    for _ in range(20):
        query = " ".join(dice.choices(vocabulary, k=8))
        expected = slowly(captions, query)
        assert index.cosines(query) == pytest.approx(expected, abs=1e-12)
        best = sorted(range(200), key=lambda place: -expected[place])
        found = index.nearest([query], 10)[0]
        assert [expected[place] for place in found] == pytest.approx([expected[place] for place in best[:10]])


def test_a_caption_is_nearest_to_itself_and_rare_words_tell_more_than_frequent_ones():
    captions = ["a red apple", "a red boat", "a red star", "a green boat", "a yellow boat under a red star"]
    index = NearestCaptions(captions)
    assert index.nearest(captions, 1)[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert index.cosines("a red apple")[0] == pytest.approx(1.0)
    assert index.nearest(["a red violin apple"], 1).tolist() == [[0]]
    assert index.nearest(["green red a"], 1).tolist() == [[3]]  # one caption has "green", four have "red"


def test_case_forms_of_letters_and_marks_do_not_hide_a_word():
    index = NearestCaptions(["ein Fuß", "\u00e9toile", "🍎", "a star, small"])
    queries = ["FUSS", "e\u0301toile", "a big 🍎!", "SMALL"]
    assert index.nearest(queries, 1)[:, 0].tolist() == [0, 1, 2, 3]


def test_equally_near_captions_come_in_their_order():
    index = NearestCaptions(["a cat", "a dog", "a cat", "a dog", "a cat"])
    assert index.nearest(["cat"], 5).tolist() == [[0, 2, 4, 1, 3]]
    assert index.nearest(["nothing known"], 3).tolist() == [[0, 1, 2]]
    assert index.nearest([], 2).shape == (0, 2)


def test_empty_captions_are_like_nothing():
    index = NearestCaptions(["", "a cat"])
    assert index.nearest(["cat"], 2).tolist() == [[1, 0]]
    assert np.isfinite(index.cosines("")).all()


def test_more_than_there_are_is_an_input_error():
    with pytest.raises(InputError, match=r"k = 3: there are 1 to 2 captions"):
        NearestCaptions(["one", "two"]).nearest(["one"], 3)
    with pytest.raises(InputError, match="no captions"):
        NearestCaptions([])
