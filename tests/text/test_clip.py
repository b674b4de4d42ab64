"""CLIP's text tower against a plain causal transformer, text by text."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.text.bpe import BPE
from limner.text.clip import ClipText, ClipTextConfig

TEXTS = ["a red square", "", "two small stars above a big moon in a night sky", "a blue circle", "x" * 100]
CONFIG = ClipTextConfig(width=16, depth=2, heads=2, hidden=32, length=24)


def tower(tokenizer: BPE) -> ClipText:
    torch.manual_seed(0)
    text = ClipText(CONFIG, tokenizer, out=8).eval()
    with torch.no_grad():
        for one in text.parameters():
            one.add_(torch.randn_like(one) * 0.1)
    return text


def plainly(text: ClipText, ids: Tensor) -> Tensor:
    """The features of one row of ids, L of them, all of which count."""
    length = len(ids)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    x = (text.embed(ids) + text.place[:length])[None]
    return text.project(text.norm(text.blocks(x, mask=causal)))[0, -1]


def test_texts_that_share_a_row_do_not_see_each_other(tokenizer: BPE) -> None:
    text = tower(tokenizer)
    ids, mask = text.tokenizer.encode(TEXTS, CONFIG.length)
    wanted = torch.stack([plainly(text, row[seen]) for row, seen in zip(ids, mask, strict=True)])
    torch.testing.assert_close(text(TEXTS), wanted, rtol=1e-4, atol=1e-5)


def test_what_stands_behind_the_first_end_token_does_not_count(tokenizer: BPE) -> None:
    text = tower(tokenizer)
    ids, _ = text.tokenizer.encode(TEXTS, CONFIG.length)
    noisy = ids.clone()
    for row in noisy:
        first = row.tolist().index(text.tokenizer.end)
        row[first + 1 :] = torch.randint(0, text.tokenizer.size, (CONFIG.length - first - 1,))
    assert not noisy.equal(ids)
    torch.testing.assert_close(text.pool(noisy), text.pool(ids), rtol=1e-4, atol=1e-5)
