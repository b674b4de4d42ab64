from __future__ import annotations

import pytest
import torch
from PIL import Image

from limner.core import InputError, Tokenizer
from limner.evaluate.attention import INK, LINE, PAPER, START, attention_picture, by_word, evenly


def test_a_word_has_what_all_its_tokens_have(tokenizer: Tokenizer) -> None:
    """A strange word is many tokens; the start before the first word keeps its own."""
    prompt = "a zyx square"
    count = int(tokenizer.encode([prompt], 40)[1].sum())
    lengths = [int(tokenizer.encode([text], 40)[1].sum()) for text in ("", "a", "a zyx", prompt)]
    assert count > 4
    words, shares = by_word(torch.eye(count), prompt, tokenizer, length=40)
    assert words == [START, "a", "zyx", "square"]
    assert shares.sum(dim=0).tolist() == [1, lengths[1] - 1, lengths[2] - lengths[1], count - lengths[2]]
    assert shares.sum(dim=1).tolist() == [1.0] * count


def test_words_that_were_cut_away_are_not_shown(tokenizer: Tokenizer) -> None:
    words, shares = by_word(torch.ones(1, 3) / 3, "a red square on a ground", tokenizer, length=3)
    assert words == [START, "a", "red"]
    assert shares.shape == (1, 3)


def test_attention_of_another_prompt_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="tokens and the attention 3"):
        by_word(torch.ones(2, 3), "a red square on a white ground", tokenizer, length=40)


def test_the_map_is_dark_where_the_attention_is() -> None:
    """Three glimpses, each at another word: the cell in the middle of each row and column has ink or paper."""
    shares = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    page = attention_picture(["one", "two", "three"], shares, frames)
    width = max(3 * (20 + 6), 3 * LINE)
    left, top = page.width - 6 - width, page.height - 3 * LINE - 6
    cells = [
        [page.getpixel((left + width * (2 * step + 1) // 6, top + LINE * row + LINE // 2)) for step in range(3)]
        for row in range(3)
    ]
    half = tuple(round((ink + paper) / 2) for ink, paper in zip(INK, PAPER, strict=True))
    assert cells == [[PAPER, PAPER, half], [INK, PAPER, half], [PAPER, INK, PAPER]]
    assert {(255, 0, 0), (0, 255, 0), (0, 0, 255)} <= {colour for _, colour in page.getcolors(1 << 16)}


def test_frames_are_chosen_evenly_and_end_with_the_last() -> None:
    assert evenly(3, most=8) == [0, 1, 2]
    assert evenly(32, most=8) == [3, 7, 11, 15, 19, 23, 27, 31]
    assert evenly(10, most=4)[-1] == 9
