from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner.process.grid_attention import after_text, column, convolution, kinds, neighbours, row


def seen(mask: Tensor, token: int) -> list[int]:
    return mask[token].nonzero()[:, 0].tolist()


def test_a_row_is_the_last_tokens_up_to_the_one_straight_above() -> None:
    assert seen(row(4), 9) == [5, 6, 7, 8, 9]
    assert seen(row(4), 2) == [0, 1, 2]


def test_a_column_is_all_above() -> None:
    assert seen(column(4), 14) == [2, 6, 10, 14]
    assert seen(column(4), 3) == [3]


def test_a_convolution_is_the_drawn_part_of_a_square() -> None:
    assert seen(convolution(4, 3), 10) == [5, 6, 7, 9, 10]
    assert seen(convolution(4, 3), 8) == [3, 4, 5, 7, 8]  # at the left edge it goes round
    assert seen(convolution(6, 5), 20) == [6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 18, 19, 20]
    assert seen(convolution(4, 1), 10) == [10]


@pytest.mark.parametrize("mask", [row(5), column(5), convolution(5, 3), convolution(5, 11)])
def test_every_token_sees_itself_and_none_that_comes_later(mask: Tensor) -> None:
    assert mask.diagonal().all()
    assert not mask.triu(1).any()


def test_the_layers_are_in_the_paper_s_order() -> None:
    """Of 64 the last is a convolution, and of the others layer i sees columns where i - 2 divides by 4."""
    order = kinds(64)
    assert order[-1] == "convolution"
    assert [layer for layer, kind in enumerate(order, start=1) if kind == "column"] == list(range(2, 64, 4))
    assert set(order[:-1]) == {"row", "column"}
    assert kinds(1) == ["convolution"]


def test_text_sees_the_text_before_it_and_the_picture_sees_it_all() -> None:
    mask = after_text(column(2), 3)
    assert seen(mask, 1) == [0, 1]
    assert seen(mask, 3) == [0, 1, 2, 3]
    assert seen(mask, 6) == [0, 1, 2, 4, 6]


@pytest.mark.parametrize("mask", [row(4), column(4), convolution(4, 3)])
def test_neighbours_list_what_a_mask_shows(mask: Tensor) -> None:
    places, there = neighbours(mask)
    again = torch.zeros_like(mask)
    for token in range(len(mask)):
        again[token, places[token][there[token]]] = True
    assert again.equal(mask)
    assert there.sum() == mask.sum()
