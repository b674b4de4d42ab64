"""Prompts in brackets: what they weigh, what is text, where chunks end, and what weights do."""

from __future__ import annotations

import itertools
import re
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.core import InputError
from limner.text.bpe import BPE
from limner.text.ended import Ended
from limner.text.prompts import HEAVIEST, MOST_CHUNKS, Fragment, chunks, emphasise, sections

SIGNS = ["(", ")", "[", "]", "\\", ":", "1.2", ".", "-", " ", "a", "é", "\n", "BREAK"]
NOTATION = st.lists(st.sampled_from(SIGNS)).map("".join)
SCARS = re.compile(r"[()\[\]\\]")


def weights(prompt: str) -> list[tuple[str, float]]:
    (section,) = sections(prompt)
    return [(text, round(weight, 6)) for text, weight in section]


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("", []),
        ("a red square", [("a red square", 1.0)]),
        ("a (red) square", [("a ", 1.0), ("red", 1.1), (" square", 1.0)]),
        ("a (red:1.3) square", [("a ", 1.0), ("red", 1.3), (" square", 1.0)]),
        ("(red: 0.5 )(blue:-.5)(grey:2.)", [("red", 0.5), ("blue", -0.5), ("grey", 2.0)]),
        ("a [red] square", [("a ", 1.0), ("red", 0.909091), (" square", 1.0)]),
        ("((a)) ([b])", [("a", 1.21), (" b", 1.0)]),
        ("(a (b:1.2):1.5)", [("a ", 1.5), ("b", 1.8)]),
        (r"a \(b\) \[c\] \\ d", [(r"a (b) [c] \ d", 1.0)]),
        (r"(a \(b\):1.2)", [("a (b)", 1.2)]),
        (r"a\b", [("ab", 1.0)]),
        ("a (b", [("a ", 1.0), ("b", 1.1)]),
        ("a [b", [("a ", 1.0), ("b", 0.909091)]),
        ("a) b] c:1.2) d", [("a) b] c:1.2) d", 1.0)]),
        ("([a)b]", [("a", 1.0), ("b", 0.909091)]),
        ("(a:1.2.3) (b:x) (c:)", [("a:1.2.3", 1.1), (" ", 1.0), ("b:x", 1.1), (" ", 1.0), ("c:", 1.1)]),
        ("12:30 [a:b:0.5]", [("12:30 ", 1.0), ("a:b:0.5", 0.909091)]),
        ("(:1.2)", []),
    ],
)  # fmt: skip
def test_brackets_weigh_what_stands_in_them(prompt: str, wanted: list[tuple[str, float]]) -> None:
    assert weights(prompt) == wanted


def test_break_ends_a_section_within_brackets_too() -> None:
    assert sections("a BREAK b") == [[Fragment("a", 1.0)], [Fragment("b", 1.0)]]
    assert [[one.text for one in section] for section in sections("(a\nBREAK  b:1.2) c")] == [["a"], ["b", " c"]]
    assert sections("a BREAK") == [[Fragment("a", 1.0)]]
    assert sections("BREAK a") == [[], [Fragment("a", 1.0)]]
    assert sections("BREAK") == [[]]
    assert sections("no BREAKS breaks") == [[Fragment("no BREAKS breaks", 1.0)]]


@given(NOTATION | st.text())
def test_nothing_is_an_error_and_neighbours_differ(prompt: str) -> None:
    found = sections(prompt)
    assert found
    for section in found:
        assert all(one.text and abs(one.weight) <= HEAVIEST for one in section)
        assert all(one.weight != other.weight for one, other in itertools.pairwise(section))
    assert len("".join(one.text for section in found for one in section)) <= len(prompt)


@given(st.text(st.characters(exclude_characters="()[]\\K")))
def test_text_without_notation_is_itself(text: str) -> None:
    assert sections(text) == [[Fragment(text, 1.0)] if text else []]


@given(st.text(st.characters(exclude_characters="K")))
def test_escaped_text_is_itself(text: str) -> None:
    assert sections(SCARS.sub(r"\\\g<0>", text)) == [[Fragment(text, 1.0)] if text else []]


@given(st.lists(st.tuples(st.sampled_from(["a", "b c", " é "]), st.integers(1, 99)), max_size=6))
def test_weights_that_are_written_are_read(parts: list[tuple[str, int]]) -> None:
    (section,) = sections("".join(f"({text}:{weight / 10})" for text, weight in parts))
    assert [one.weight for one in section for _ in one.text] == [weight / 10 for text, weight in parts for _ in text]


@pytest.mark.parametrize(
    "prompt", ["(a" * 20_000, "([a" * 20_000 + ")" * 20_000, "(" + ":1" * 20_000, ":" + "1" * 40_000]
)
def test_a_wall_of_brackets_takes_no_time_and_no_infinite_weight(prompt: str) -> None:
    start = time.process_time()
    found = [one.weight for section in sections(prompt) for one in section]
    assert time.process_time() - start < 2.0
    assert max(found) <= HEAVIEST


# ---------------------------------------------------------------------------------------------------
# Chunks.


def test_without_notation_a_chunk_is_what_the_tokenizer_says(tokenizer: BPE) -> None:
    for words in (Ended(tokenizer), Ended(tokenizer).templated()):
        for text in ("", "a red square", "two small stars above a big moon", "ひまわり"):
            ids, _ = words.encode([text], 200)
            assert chunks(text, words, room=100) == [[(one, 1.0) for one in ids[0, 1:-1].tolist()]]


def test_words_are_the_same_tokens_in_brackets(tokenizer: BPE) -> None:
    words = Ended(tokenizer)
    plain = words.pieces("a red square on a white ground")
    (found,) = chunks("a (red square:1.5) on [a white] ground", words, room=100)
    assert [piece for piece, _ in found] == plain
    assert {weight for _, weight in found} == {1.0, 1.5, 1 / 1.1}


def test_long_prompts_go_on_in_further_chunks_and_break_begins_one(tokenizer: BPE) -> None:
    words = Ended(tokenizer)
    pieces = words.pieces("a red square " * 5)
    found = chunks("a red square " * 5, words, room=4)
    assert [len(chunk) for chunk in found[:-1]] == [4] * (len(found) - 1)
    assert [piece for chunk in found for piece, _ in chunk] == words.pieces(("a red square " * 5).strip())
    assert len(pieces) >= 15
    broken = chunks("a red BREAK (square) BREAK BREAK blue", words, room=4)
    assert [[piece for piece, _ in chunk] for chunk in broken] == [
        words.pieces("a red"), words.pieces("square"), [], words.pieces("blue"),
    ]  # fmt: skip


def test_too_long_a_prompt_is_one_line(tokenizer: BPE) -> None:
    words = Ended(tokenizer)
    assert len(chunks("a BREAK " * MOST_CHUNKS, words, room=4)) == MOST_CHUNKS
    with pytest.raises(InputError, match=r'^the prompt "a BREAK .*" takes 17 chunks of 4 tokens; at most 16 .*shorten'):
        chunks("a BREAK " * (MOST_CHUNKS + 1), words, room=4)


# ---------------------------------------------------------------------------------------------------
# Weights.


def test_weights_multiply_states_and_keep_each_row_s_mean() -> None:
    states = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    weights = torch.ones(3, 5)
    weights[0, 2], weights[1, 1:3] = 1.5, 0.2
    found = emphasise(states, weights)
    for row in range(3):
        plain = states[row] * weights[row, :, None]
        torch.testing.assert_close(found[row], plain * (states[row].mean() / plain.mean()))
    assert found[2].equal(states[2])
    half = states.bfloat16()
    assert emphasise(half, torch.ones(3, 5)).equal(half)


def test_a_mean_of_zero_cannot_be_kept_and_is_no_infinity() -> None:
    assert emphasise(torch.ones(1, 2, 3), torch.tensor([[1.0, -1.0]])).tolist() == [[[1.0] * 3, [-1.0] * 3]]
    assert emphasise(torch.zeros(1, 2, 3), torch.tensor([[1.0, 2.0]])).eq(0.0).all()
