"""The joint embedding: its loss by hand, and that it learns whose picture is whose."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from limner.core import Batch, InputError, Tokenizer, parse, unparse
from limner.text.char_cnn_rnn import CharConfig
from limner.text.joint import JointConfig, JointEmbedding
from limner.text.transformer import TextConfig
from tests.test_contract import squares

WORDS = JointConfig(text=TextConfig(width=16, depth=1, heads=2, hidden=32, length=32), channels=8)
LETTERS = JointConfig(text=CharConfig(channels=(16, 16, 16), width=16), channels=8)


class Fixed(torch.nn.Module):
    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors = vectors

    def forward(self, _: object) -> Tensor:
        return self.vectors


@pytest.mark.parametrize("labels", [(), ("x", "y", "x")])
def test_the_loss_is_the_sum_of_hinges_over_wrong_pairs(labels: tuple[str, ...], tokenizer: Tokenizer) -> None:
    """As Reed's loops have it: each caption against the pictures, and each picture against the captions."""
    torch.manual_seed(0)
    texts, pictures = torch.randn(2, 3, 16)
    joint = JointEmbedding(WORDS, tokenizer)
    joint.text, joint.sight = Fixed(texts), Fixed(pictures)
    expected, scores = 0.0, texts @ pictures.T
    for i in range(3):
        for j in range(3):
            if i != j and not (labels and labels[i] == labels[j]):
                expected += max(0.0, 1.0 + scores[i, j].item() - scores[i, i].item())
                expected += max(0.0, 1.0 + scores[j, i].item() - scores[i, i].item())
    loss = joint.loss(Batch(torch.zeros(3, 3, 8, 8), ["a", "b", "c"], labels), torch.Generator())["loss"].item()
    assert loss == pytest.approx(expected / 9, rel=1e-5)


@pytest.mark.parametrize("config", [WORDS, LETTERS], ids=["words", "letters"])
def test_it_learns_whose_picture_is_whose(config: JointConfig, tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    joint, batch = JointEmbedding(config, tokenizer), squares(32)
    optimiser = torch.optim.Adam(joint.parameters(), lr=3e-3)
    first = joint.loss(batch, torch.Generator())
    for _ in range(60):
        losses = joint.loss(batch, torch.Generator())
        losses["loss"].backward()
        optimiser.step()
        optimiser.zero_grad()
    assert first["ranked"] < 1.0
    assert losses["ranked"] == 1.0
    assert losses["loss"] < 0.05 * first["loss"]
    assert not joint.sentences(batch.captions).requires_grad


def test_sentences_are_told_apart_by_whoever_reads_them(tokenizer: Tokenizer) -> None:
    """Over the captions seen in training each number has mean 0 and deviation 1; looking gathers nothing."""
    torch.manual_seed(0)
    joint = JointEmbedding(WORDS, tokenizer)
    batch = squares(32)
    for _ in range(200):  # what it began with is forgotten by a tenth each time
        joint.loss(batch, torch.Generator())
    sentences = joint.sentences(batch.captions)
    torch.testing.assert_close(sentences.mean(dim=0), torch.zeros(16), atol=1e-3, rtol=0.0)
    torch.testing.assert_close(sentences.std(dim=0), torch.ones(16), atol=1e-2, rtol=0.0)
    joint.eval().loss(Batch(batch.images, ["another text"] * 4), torch.Generator())
    assert joint.sentences(batch.captions).equal(sentences)
    torch.testing.assert_close(joint.sentences(batch.captions[:1]), sentences[:1])


def test_either_encoder_goes_through_a_mapping_and_back() -> None:
    for config in (WORDS, LETTERS):
        assert parse(JointConfig, unparse(config), "here") == config
    values = unparse(WORDS)
    values["text"]["detph"] = values["text"].pop("depth")
    with pytest.raises(InputError, match=r'here: text: unknown key "detph" \(did you mean "depth"\?\)'):
        parse(JointConfig, values, "here")
    with pytest.raises(InputError, match="channels = 12 do not divide by 8"):
        replace(WORDS, channels=12)
