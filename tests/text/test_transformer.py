from __future__ import annotations

import torch

from limner.text.bpe import BPE
from limner.text.transformer import TextConfig, TextTransformer

TOKENIZER = BPE.train(["a red circle", "two dogs on a beach"] * 20, 300)


def encoder() -> TextTransformer:
    torch.manual_seed(0)
    made = TextTransformer(TextConfig(width=32, depth=2, heads=2, hidden=48, length=24), TOKENIZER)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def test_padding_never_changes_a_text() -> None:
    made = encoder()
    alone = made(["a red circle"])
    beside = made(["a red circle", "two dogs on a beach and a long tail"])
    length = int(beside.mask[0].sum())
    assert alone.tokens.shape[1] < beside.tokens.shape[1]
    torch.testing.assert_close(beside.tokens[0, :length], alone.tokens[0, :length], atol=1e-5, rtol=1e-5)


def test_texts_that_share_a_row_do_not_see_each_other() -> None:
    made = encoder()
    texts = ["dogs", "", "a red circle", "two dogs on a beach and a long tail " * 3, "a", "two circles", ""]
    together = made(texts)
    for number, text in enumerate(texts):
        alone = made([text])
        length = int(alone.mask.sum())
        assert together.mask[number].sum() == length
        torch.testing.assert_close(together.tokens[number, :length], alone.tokens[0, :length], atol=1e-5, rtol=1e-5)
    assert (together.tokens[~together.mask] == 0).all()


def test_the_order_of_words_counts() -> None:
    left, right = encoder()(["a red circle", "circle a red"]).tokens[:, :4]
    assert (left - right).abs().max() > 0.1


def test_a_text_over_the_limit_is_cut() -> None:
    assert encoder()(["dogs " * 500]).tokens.shape == (1, 24, 32)
