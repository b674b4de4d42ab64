"""Prompts as users of Stable Diffusion write them: weights in brackets and any length (AUTOMATIC1111's notation).

(words) count 1.1 times as much, (words:1.3) 1.3 times, [words] 1 / 1.1 times; brackets may be nested, and one that is
never closed reaches to the end. \\( is a bracket of the text. Behind BREAK a new chunk begins. Nothing is an error:
what does not read as notation is text.

R rows, L tokens, W width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from limner.core import check
from limner.text.ended import EndedTokenizer

STEP = 1.1  # of a pair of brackets
HEAVIEST = 100.0  # weight, in either direction: a thousand brackets are no infinity
MOST_CHUNKS = 16
BREAK = re.compile(r"\s*\bBREAK\b\s*")
TOKENS = re.compile(
    r"""
      \\ (?P<escaped> [()\[\]\\]? )     # a backslash before anything else says nothing
    | : \s* (?P<weight> [+-]? (?: [0-9]+ (?: \.[0-9]* )? | \.[0-9]+ ) ) \s* \)
    | [()\[\]]
    | [^\\()\[\]:]+ | :
    """,
    re.VERBOSE,
)
Token = re.Match[str]
Chunk = list[tuple[int, float]]  # tokens and their weights


class Fragment(NamedTuple):
    text: str
    weight: float


def sections(prompt: str) -> list[list[Fragment]]:
    """The prompt between its BREAKs, at least one section; neighbours in a section differ in weight."""
    found: list[list[Fragment]] = [[]]
    for weight, run in groupby(_fragments(prompt), key=lambda one: one.weight):
        first, *others = BREAK.split("".join(one.text for one in run))
        found[-1].append(Fragment(first, weight))
        found += [[Fragment(other, weight)] for other in others]
    kept = [[one for one in section if one.text] for section in found]
    return kept if kept[-1] or len(kept) == 1 else kept[:-1]


def chunks(prompt: str, tokenizer: EndedTokenizer, *, room: int) -> list[Chunk]:
    """The prompt's tokens, at most `room` to a chunk, one chunk or more. InputError where they are over MOST_CHUNKS."""
    found: list[Chunk] = []
    for section in sections(prompt):
        row = [(piece, one.weight) for one in section for piece in tokenizer.pieces(one.text.strip())]
        found += [row[start : start + room] for start in range(0, max(len(row), 1), room)]
    check(
        len(found) <= MOST_CHUNKS,
        f'the prompt "{prompt[:30]}..." takes {len(found):,} chunks of {room} tokens; '
        f"at most {MOST_CHUNKS} are read: shorten it",
    )
    return found


def emphasise(states: Tensor, weights: Tensor) -> Tensor:
    """Each token's state (R, L, W) times its weight (R, L), then all of a row by what keeps the row's mean."""
    before = states.float()
    after = before * weights[..., None]
    means, moved = (x.mean(dim=(1, 2), keepdim=True) for x in (before, after))
    return (after * torch.where(moved == 0.0, 1.0, means / moved)).to(states.dtype)


def _fragments(prompt: str) -> Iterator[Fragment]:
    """Each piece of text with the product of the brackets around it; square and round ones do not mind each other."""
    tokens = list(TOKENS.finditer(prompt))
    said = _said(tokens)
    rounds, squares = [1.0], [1.0]
    for place, token in enumerate(tokens):
        if token[0] == "(":
            rounds.append(max(-HEAVIEST, min(HEAVIEST, rounds[-1] * said[place])))
        elif token[0] == "[":
            squares.append(squares[-1] / STEP)
        elif _closes(token) and len(rounds) > 1:
            rounds.pop()
        elif token[0] == "]" and len(squares) > 1:
            squares.pop()
        elif text := token[0] if token["escaped"] is None else token["escaped"]:
            yield Fragment(text, rounds[-1] * squares[-1])


def _said(tokens: list[Token]) -> dict[int, float]:
    """The factor of each round bracket that opens, by its place: STEP, or what stands where it closes."""
    factors: dict[int, float] = {}
    still_open: list[int] = []
    for place, token in enumerate(tokens):
        if token[0] == "(":
            factors[place] = STEP
            still_open.append(place)
        elif _closes(token) and still_open:
            factors[still_open.pop()] = float(token["weight"] or STEP)
    return factors


def _closes(token: Token) -> bool:
    return token[0] == ")" or token["weight"] is not None
