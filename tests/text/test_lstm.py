from __future__ import annotations

import pytest
import torch

from limner.core import InputError
from limner.text.bpe import BPE
from limner.text.lstm import LSTMConfig, TextLSTM

TOKENIZER = BPE.train(["a red circle", "two dogs on a beach"] * 20, 300)


def encoder() -> TextLSTM:
    torch.manual_seed(0)
    made = TextLSTM(LSTMConfig(embedding=16, hidden=12, length=24), TOKENIZER)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def test_padding_never_changes_a_text() -> None:
    """The backward direction begins at each text's own end, and an empty text has a token too."""
    made = encoder()
    texts = ["a red circle", "two dogs on a beach and a long tail", "", "dogs"]
    together = made(texts)
    assert together.tokens.shape == (4, int(together.mask.sum(dim=1).max()), 24)
    for number, text in enumerate(texts):
        alone = made([text])
        length = int(alone.mask.sum())
        assert together.mask[number].sum() == length > 0
        torch.testing.assert_close(together.tokens[number, :length], alone.tokens[0, :length], atol=1e-6, rtol=1e-5)
    assert (together.tokens[~together.mask] == 0).all()


def test_each_direction_stands_at_the_word_that_it_has_just_read() -> None:
    """Against two LSTMs of one direction, the second over the words in reverse and turned round again."""
    made = encoder()
    ids, _ = TOKENIZER.encode(["two dogs on a beach"], 24)
    words, found = made.embed(ids), made(["two dogs on a beach"]).tokens
    for direction, suffix in ((0, ""), (1, "_reverse")):
        lstm = torch.nn.LSTM(16, 12, batch_first=True)
        lstm.load_state_dict({name: getattr(made.lstm, name + suffix) for name in lstm.state_dict()})
        order = words.flip(1) if direction else words
        start = made.start[direction][None]
        states, _ = lstm(order, (start, torch.zeros_like(start)))
        wanted = states.flip(1) if direction else states
        torch.testing.assert_close(found[..., 12 * direction : 12 * (direction + 1)], wanted, atol=1e-6, rtol=1e-5)


def test_a_text_over_the_limit_is_cut() -> None:
    assert encoder()(["dogs " * 500]).tokens.shape == (1, 24, 24)


@pytest.mark.parametrize("values", [{"length": 1}, {"hidden": 0}, {"embedding": 0}])
def test_sizes_that_cannot_be_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        LSTMConfig(**values)
