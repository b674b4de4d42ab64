from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.core import InputError
from limner.text import load_tokenizer
from limner.text.bpe import BPE

CAPTIONS = ["a stop sign in a blue sky", "two dogs on a beach", "ein roter Apfel", "ひまわり"] * 20
TOKENIZER = BPE.train(CAPTIONS, 400)


@given(st.text())
def test_every_string_is_legal_and_keeps_its_length_limit(text: str) -> None:
    ids, mask = TOKENIZER.encode([text, ""], 16)
    assert ids.shape == mask.shape
    assert 1 <= ids.shape[1] <= 16
    assert ids.max() < TOKENIZER.size
    assert mask[0].sum() == min(16, TOKENIZER.count(text))
    assert mask[1].tolist() == [True] + [False] * (ids.shape[1] - 1)


def test_a_lone_surrogate_is_legal() -> None:
    assert TOKENIZER.encode(["\ud800"], 8)[1].any()


def test_case_and_compatibility_forms_are_folded() -> None:
    ids, _ = TOKENIZER.encode(["A STOP sign", "a stop sign", "ａ stop sign"], 16)
    assert ids[0].tolist() == ids[1].tolist() == ids[2].tolist()


def test_frequent_words_are_one_token() -> None:
    assert TOKENIZER.count("stop sign") == 3


def test_it_comes_back_from_json_the_same() -> None:
    again = load_tokenizer(TOKENIZER.to_json())
    for one, two in zip(again.encode(CAPTIONS, 32), TOKENIZER.encode(CAPTIONS, 32), strict=True):
        assert one.equal(two)


def test_what_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(InputError, match="not a tokenizer"):
        load_tokenizer("{}")
    with pytest.raises(InputError, match="258 tokens or more"):
        BPE.train(CAPTIONS, 100)
