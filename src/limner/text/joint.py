"""One vector for a text, learnt by telling the text's picture from others.

The structured joint embedding of Reed, Akata, Lee and Schiele (2016): the inner product of a text and its picture is to
exceed that with any other picture by a margin, and that of the picture with any other text.

B batch, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from limner.core import Batch, Step, TextFeatures, Tokenizer, check
from limner.nn.convs import START, doublings, widths
from limner.process.matching import strangers
from limner.text.char_cnn_rnn import CharCNNRNN, CharConfig
from limner.text.transformer import TextConfig, TextTransformer

SIDE = 32  # pixels of what is looked at
GROUPS = 8  # of the group norms


@dataclass(frozen=True, slots=True)
class JointConfig:
    text: TextConfig | CharConfig = field(default_factory=TextConfig)
    channels: int = 32  # of the finest map on the pictures' side
    margin: float = 1.0

    def __post_init__(self) -> None:
        check(
            self.channels > 0 and self.channels % GROUPS == 0,
            f"channels = {self.channels} do not divide by {GROUPS}; set 32, say",
        )
        check(self.margin > 0.0, f"margin = {self.margin} must be above 0; 1 is usual")


class JointEmbedding(nn.Module):
    """Texts, and pictures (B, 3, H, W) in [-1, 1], to (B, W) each."""

    def __init__(self, config: JointConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.margin = config.margin
        self.text = sentence_encoder(config.text, tokenizer)
        self.sight = Sight(config.channels, config.text.width)
        self.spread = nn.BatchNorm1d(config.text.width, affine=False)

    @torch.no_grad()
    def sentences(self, texts: Sequence[str]) -> Tensor:
        """(B, W), to condition others on: they have no say in what a text means.

        Each of the W numbers has mean 0 and deviation 1 over the captions of late. The margin alone is met by vectors
        that have nearly all in common, from which nobody else could tell one text from another. For the same reason
        it is never done in half precision.
        """
        with torch.autocast(self.device.type, enabled=False):
            return F.batch_norm(self.text(texts), self.spread.running_mean, self.spread.running_var)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def step(self) -> Step:
        """All of it is learnt from pairs alone, beside or before whatever reads the sentences."""
        return Step("text", list(self.parameters()), self.loss)

    def loss(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """The hinge of every wrong pair against the caption's and against the picture's right one, over B squared.

        Also `ranked`, the share of captions whose own picture comes before all that are not theirs. Nothing is drawn
        from `generator`.
        """
        texts = self.text(batch.captions)
        if self.training and len(batch) > 1:
            self.spread(texts.detach())  # gathers the mean and the deviation
        scores = texts @ self.sight(batch.images).T  # (captions, pictures)
        wrong = strangers(batch).to(scores.device)
        right = scores.diag()
        above = F.relu(self.margin + scores - right[:, None]) + F.relu(self.margin + scores - right[None, :])
        beaten = (scores >= right[:, None]) & wrong
        loss = torch.where(wrong, above, 0.0).sum() / wrong.numel()
        return {"loss": loss, "ranked": 1.0 - beaten.any(dim=1).float().mean()}


class Sight(nn.Module):
    """Pictures to (B, W): strided convolutions down to a 4 x 4 map, and one linear layer over all of it."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        maps = [3, *widths(channels, doublings(SIDE))]
        self.halvings = nn.Sequential(*map(_halving, maps[:-1], maps[1:]))
        self.out = nn.Linear(maps[-1] * START * START, width)

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.out(self.halvings(F.adaptive_avg_pool2d(images, SIDE)).flatten(1))
        return out


def _halving(channels: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, after, 4, stride=2, padding=1), nn.GroupNorm(GROUPS, after), nn.SiLU())


class MeanToken(nn.Module):
    """The transformer's text features, averaged over the tokens."""

    def __init__(self, config: TextConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.encoder = TextTransformer(config, tokenizer)

    def forward(self, texts: Sequence[str]) -> Tensor:
        features: TextFeatures = self.encoder(texts)
        return features.mean()


def sentence_encoder(config: TextConfig | CharConfig, tokenizer: Tokenizer) -> nn.Module:
    """Texts to (B, config.width). The char-CNN-RNN has an alphabet and no use for the tokenizer."""
    return CharCNNRNN(config) if isinstance(config, CharConfig) else MeanToken(config, tokenizer)
