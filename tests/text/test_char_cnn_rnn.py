"""The char-CNN-RNN: its alphabet, its sizes, and its recurrence against torch's own."""

from __future__ import annotations

import pytest
import torch

from limner.core import InputError
from limner.text.char_cnn_rnn import ALPHABET, CharCNNRNN, CharConfig

SMALL = CharConfig(channels=(8, 12, 16), width=20)


def test_the_alphabet_has_seventy_letters_and_the_sizes_are_reed_s() -> None:
    assert len(ALPHABET) == 70
    encoder = CharCNNRNN(CharConfig())
    assert encoder(["a bird"]).shape == (1, 1024)
    assert sum(one.numel() for one in encoder.parameters()) == (
        4 * (70 * 384 + 384 * 512 + 512 * 256) + 384 + 512 + 256 + 2 * (256 * 256 + 256) + 256 * 1024 + 1024
    )


def test_eight_steps_are_left_of_201_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, seen = CharCNNRNN(SMALL), []
    read = encoder._read
    monkeypatch.setattr(encoder, "_read", lambda steps: seen.append(steps.shape) or read(steps))
    encoder(["a", "b"])
    assert seen == [(8, 2, 16)]


def test_a_letter_is_one_hot_in_lower_case_and_an_unknown_one_is_nothing() -> None:
    page = CharCNNRNN(SMALL).letters(["aB é-", ""])
    assert page.shape == (2, 70, 201)
    assert page[0].nonzero().tolist() == [[0, 0], [1, 1], [ALPHABET.rindex("-"), 4], [69, 2]]
    assert not page[1].any()


def test_the_recurrence_is_torch_s_but_for_the_first_step() -> None:
    """torch adds the recurrent layer's bias in the first step too; without it the two are the same."""
    torch.manual_seed(0)
    encoder, steps = CharCNNRNN(SMALL), torch.randn(8, 3, 16)
    torch.nn.init.zeros_(encoder.again.bias)
    other = torch.nn.RNN(16, 16, nonlinearity="relu")
    other.load_state_dict({
        "weight_ih_l0": encoder.into.weight, "bias_ih_l0": encoder.into.bias,
        "weight_hh_l0": encoder.again.weight, "bias_hh_l0": encoder.again.bias,
    })  # fmt: skip
    torch.testing.assert_close(encoder._read(steps), other(steps)[0].mean(dim=0))
    torch.nn.init.ones_(encoder.again.bias)
    torch.testing.assert_close(encoder._read(steps[:1]), torch.relu(encoder.into(steps[0])))


def test_a_text_is_read_the_same_among_others_and_cut_at_the_end() -> None:
    encoder = CharCNNRNN(SMALL)
    long = "a red bird " * 30
    alone, among = encoder(["a red bird"]), encoder([long, "a red bird", ""])
    torch.testing.assert_close(alone[0], among[1])
    torch.testing.assert_close(encoder([long[:201]]), encoder([long]))
    assert not torch.allclose(among[0], among[1])


def test_a_length_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="length = 20 letters leave nothing after pooling"):
        CharConfig(length=20)
