"""Tokenizers with an end token: where it stands, what is cut, and what comes back from JSON."""

from __future__ import annotations

import pytest

from limner.core import InputError
from limner.text import load_tokenizer
from limner.text.bpe import BPE
from limner.text.ended import Ended, Templated, ended

TEXTS = ["", "a red square", "two small stars above a big moon in a night sky " * 3, "ひまわり \ud800"]


def test_every_text_ends_in_the_end_token_the_cut_ones_too(tokenizer: BPE) -> None:
    words = ended(tokenizer)
    assert (words.size, words.end) == (tokenizer.size + 1, tokenizer.size)
    plain, _ = tokenizer.encode(TEXTS, 15)
    ids, mask = words.encode(TEXTS, 16)
    assert ids.shape == mask.shape == (4, 16)
    for row, seen, before in zip(ids.tolist(), mask.tolist(), plain.tolist(), strict=True):
        length = sum(seen)
        assert seen == [True] * length + [False] * (16 - length)
        assert row == [*before[: length - 1], words.end, *[0] * (16 - length)]
        assert row.count(words.end) == 1
    assert words.encode(["a red square"], 3)[0].tolist() == [[*tokenizer.encode(["a red square"], 2)[0][0], words.end]]


def test_a_tokenizer_that_ends_its_texts_is_left_as_it_is(tokenizer: BPE) -> None:
    templated = Ended(tokenizer).templated()
    assert ended(templated) is templated


def test_as_one_file_it_gives_the_same_ids(tokenizer: BPE) -> None:
    words = Ended(tokenizer)
    again = load_tokenizer(words.templated().to_json())
    assert isinstance(again, Templated)
    assert (again.size, again.end) == (words.size, words.end)
    for length in (3, 16, 200):
        for one, other in zip(words.encode(TEXTS, length), again.encode(TEXTS, length), strict=True):
            assert one.equal(other)


def test_the_end_token_typed_into_a_text_is_characters(tokenizer: BPE) -> None:
    ids, _ = Ended(tokenizer).templated().encode(["a <end> b"], 64)
    assert ids[0].tolist().count(tokenizer.size) == 1


def test_what_has_no_template_is_ours(tokenizer: BPE) -> None:
    assert isinstance(load_tokenizer(tokenizer.to_json()), BPE)
    with pytest.raises(InputError, match="puts 0 tokens around a text"):
        Templated.from_json(tokenizer.to_json())
    for text in ("", "[]", '{"post_processor": {}}'):
        with pytest.raises(InputError, match="this is not a tokenizer"):
            load_tokenizer(text)


def test_a_list_of_merges_that_is_not_openai_s_is_refused() -> None:
    with pytest.raises(InputError, match="not OpenAI's list of merges"):
        Templated.from_merges(["a title", "a b", "c d"])


def test_pieces_are_what_stands_between_start_and_end(tokenizer: BPE) -> None:
    for words in (Ended(tokenizer), Ended(tokenizer).templated()):
        for text in TEXTS:
            ids, mask = words.encode([text], 500)
            assert [words.start, *words.pieces(text), words.end] == ids[0, mask[0]].tolist()
        assert words.pieces("") == []
