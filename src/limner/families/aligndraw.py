"""alignDRAW (Mansimov, Parisotto, Ba, Salakhutdinov 2016): a recurrent VAE that draws on a canvas while it reads.

At each of T glimpses the decoder attends to the words that matter now, is told a latent, and writes through a window
of Gaussian filters onto the canvas c_t; the picture is sigmoid(c_T). In training an encoder, which sees through a
window of its own what is still wrong, says the latent; in drawing it comes from a prior that is learnt and recurrent.

B batch, L text tokens, D decoder units, Z latents, C channels, N cells of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Generator, Tensor, nn

from limner.core import Batch, Family, Request, Sketch, Step, TextFeatures, Tokenizer, check, prompt_alone, seeded
from limner.process.gaussians import Gaussian, divergence
from limner.process.windows import NUMBERS, Window
from limner.text.lstm import LSTMConfig, TextLSTM


@dataclass(frozen=True, slots=True)
class Config:
    """The defaults are the paper's for COCO, but for the embedding: words are one-hot there."""

    image_size: int = 32
    channels: Literal[1, 3] = 3  # 1: grey, for pictures that are
    glimpses: int = 32  # T
    encoder: int = 550  # units
    decoder: int = 550
    latent: int = 275
    window: int = 9  # N, in reading and in writing
    align: int = 512  # units by which words and the decoder are compared
    text: LSTMConfig = field(default_factory=LSTMConfig)

    def __post_init__(self) -> None:
        for name in ("glimpses", "encoder", "decoder", "latent", "align"):
            check(getattr(self, name) > 0, f"{name} = {getattr(self, name)} must be above 0")
        check(
            2 <= self.window <= self.image_size,
            f"window = {self.window} is not from 2 to the {self.image_size} pixels of image_size",
        )


@dataclass(frozen=True, slots=True)
class Knobs:
    temperature: float = 1.0  # spread of the latents, in parts of the prior's; 0 draws its means

    def __post_init__(self) -> None:
        check(0.0 <= self.temperature <= 10.0, f"temperature = {self.temperature} is not from 0 to 10; 1 is plain")


@dataclass(frozen=True, slots=True)
class Words:
    """Texts as the decoder reads them: `states` (B, L, 2H), `keys` (B, L, A) to be compared by, `mask` (B, L)."""

    states: Tensor
    keys: Tensor
    mask: Tensor

    @staticmethod
    def stack(rows: Sequence[Words]) -> Words:
        """Rows of one text each, padded to the longest."""
        longest = max(row.mask.shape[1] for row in rows)
        tails = [longest - row.mask.shape[1] for row in rows]
        return Words(
            torch.cat([F.pad(row.states, (0, 0, 0, tail)) for row, tail in zip(rows, tails, strict=True)]),
            torch.cat([F.pad(row.keys, (0, 0, 0, tail)) for row, tail in zip(rows, tails, strict=True)]),
            torch.cat([F.pad(row.mask, (0, tail)) for row, tail in zip(rows, tails, strict=True)]),
        )

    def row(self, index: int) -> Words:
        """One text without its padding."""
        length, keep = int(self.mask[index].sum()), slice(index, index + 1)
        return Words(self.states[keep, :length], self.keys[keep, :length], self.mask[keep, :length])


Memory = tuple[Tensor, Tensor]  # an LSTM's h and c


@dataclass(frozen=True, slots=True)
class Drawing:
    """Pictures after some glimpses: the decoder's memory, (B, D) twice, and the canvas (B, C, H, W), in logits."""

    decoder: Memory
    canvas: Tensor


@dataclass(slots=True, kw_only=True)
class AlignDRAWSketch(Sketch):
    """`attention` holds, for each glimpse so far, how much of it each token had: (L,), of sum 1."""

    words: Words
    drawing: Drawing
    attention: list[Tensor] = field(default_factory=list)


class Align(nn.Module):
    """Additive attention (Bahdanau et al. 2015): e_i = v . tanh(W_l h_i + W_d h + b), over the words h_i."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.word = nn.Linear(2 * config.text.hidden, config.align)
        self.state = nn.Linear(config.decoder, config.align, bias=False)
        self.score = nn.Linear(config.align, 1, bias=False)

    def read(self, features: TextFeatures) -> Words:
        """What of the comparison depends on the text alone, once a picture."""
        return Words(features.tokens, self.word(features.tokens), features.mask)

    def forward(self, words: Words, h: Tensor) -> tuple[Tensor, Tensor]:
        """The sentence as it matters to `h` (B, D): (B, 2H), and the share of each token in it, (B, L)."""
        scores = self.score(torch.tanh(words.keys + self.state(h)[:, None]))[..., 0]
        shares = scores.float().masked_fill(~words.mask, -torch.inf).softmax(dim=1)
        return torch.einsum("BL,BLW->BW", shares, words.states.float()), shares


class Encoder(nn.Module):
    """What is seen of the picture and of its error, to the posterior of the glimpse's latent."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.window = nn.Linear(config.decoder, NUMBERS)
        self.start = nn.Parameter(torch.zeros(1, config.encoder))
        self.lstm = nn.LSTMCell(2 * config.channels * config.window**2 + config.decoder, config.encoder)
        self.posterior = nn.Linear(config.encoder, 2 * config.latent)

    def begin(self, rows: int) -> Memory:
        start = self.start.expand(rows, -1)
        return start, torch.zeros_like(start)

    def forward(self, x: Tensor, drawing: Drawing, memory: Memory) -> tuple[Gaussian, Memory]:
        """`x` (B, C, H, W) in [0, 1]."""
        h = drawing.decoder[0]
        window = Window.at(self.window(h), cells=self.config.window, height=x.shape[2], width=x.shape[3])
        read = window.read(torch.cat([x, x - drawing.canvas.sigmoid()], dim=1))
        memory = self.lstm(torch.cat([rearrange(read, "B C M N -> B (C M N)"), h], dim=1), memory)
        mean, log_variance = self.posterior(memory[0]).float().chunk(2, dim=1)
        return Gaussian(mean, 0.5 * log_variance), memory


class Decoder(nn.Module):
    """A latent and the words that matter now, to what is written onto the canvas."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        size = config.image_size
        self.canvas = nn.Parameter(torch.zeros(config.channels, size, size))  # c_0
        self.start = nn.Parameter(torch.zeros(1, config.decoder))
        self.align = Align(config)
        self.lstm = nn.LSTMCell(config.latent + 2 * config.text.hidden, config.decoder)
        self.prior = nn.Linear(config.decoder, 2 * config.latent)
        self.window = nn.Linear(config.decoder, NUMBERS)
        self.cells = nn.Linear(config.decoder, config.channels * config.window**2)

    def begin(self, rows: int) -> Drawing:
        start = self.start.expand(rows, -1)
        return Drawing((start, torch.zeros_like(start)), self.canvas.expand(rows, -1, -1, -1))

    def expect(self, drawing: Drawing) -> Gaussian:
        """The prior of the next latent; both numbers are a tanh, so that sigma is from 1/e to e."""
        mean, log_sigma = self.prior(drawing.decoder[0]).float().tanh().chunk(2, dim=1)
        return Gaussian(mean, log_sigma)

    def forward(self, drawing: Drawing, z: Tensor, words: Words) -> tuple[Drawing, Tensor]:
        """The drawing after one more glimpse, and the attention to each token (B, L)."""
        sentence, shares = self.align(words, drawing.decoder[0])
        memory = self.lstm(torch.cat([z, sentence], dim=1), drawing.decoder)
        return Drawing(memory, drawing.canvas + self._written(memory[0])), shares

    def _written(self, h: Tensor) -> Tensor:
        cells, size = self.config.window, self.config.image_size
        window = Window.at(self.window(h), cells=cells, height=size, width=size)
        return window.write(rearrange(self.cells(h), "B (C M N) -> B C M N", M=cells, N=cells))


class AlignDRAW(Family):
    Config = Config
    Knobs = Knobs
    presets: ClassVar[dict[str, Config]] = {"base": Config()}
    presets["digits"] = replace(  # the paper's MNIST with captions
        presets["base"], image_size=60, channels=1, encoder=300, decoder=300, latent=150, window=8,
    )  # fmt: skip
    presets["tiny"] = replace(
        presets["base"], glimpses=4, encoder=64, decoder=64, latent=16, window=8, align=32,
        text=LSTMConfig(embedding=48, hidden=32, length=32),
    )  # fmt: skip

    def __init__(self, config: Config, tokenizer: Tokenizer) -> None:
        super().__init__(config, tokenizer)
        self.text = TextLSTM(config.text, tokenizer)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    # -- training ----------------------------------------------------------------------------------

    def calibrate(self, batch: Batch) -> None:
        """The canvas begins as the mean picture, which is the best that can be drawn without a word."""
        x = self._seen(batch.images)
        mean = (x.sum(dim=0) + 0.5) / (len(x) + 1)  # strictly within 0 and 1, so that its logit is finite
        with torch.no_grad():
            self.decoder.canvas.copy_(mean.logit())

    def steps(self) -> list[Step]:
        return [Step("draw", list(self.parameters()), self.loss)]

    def loss(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """The variational bound in nats a picture: KL(q || p) of all glimpses, and the cross-entropy of the pixels."""
        x, words = self._seen(batch.images), self.read(batch.captions)
        drawing, memory = self.decoder.begin(len(x)), self.encoder.begin(len(x))
        prior = Gaussian.standard(len(x), self.config.latent, like=x)
        kl = x.new_zeros(len(x))
        for _ in range(self.config.glimpses):
            posterior, memory = self.encoder(x, drawing, memory)
            kl = kl + divergence(posterior, prior)
            eps = torch.randn(posterior.mean.shape, generator=generator).to(x.device)
            drawing, _ = self.decoder(drawing, posterior.at(eps), words)
            prior = self.decoder.expect(drawing)
        error = F.binary_cross_entropy_with_logits(drawing.canvas.float(), x, reduction="sum") / len(x)
        return {"loss": error + kl.mean(), "reconstruction": error.detach(), "kl": kl.detach().mean()}

    def _seen(self, images: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [-1, 1] to (B, C, H, W) in [0, 1]."""
        x = images.add(1.0).div(2.0)
        return x.mean(dim=1, keepdim=True) if self.config.channels == 1 else x

    # -- drawing -----------------------------------------------------------------------------------

    def read(self, texts: Sequence[str]) -> Words:
        return self.decoder.align.read(self.text(texts))

    @torch.no_grad()
    def begin(self, requests: Sequence[Request]) -> list[Sketch]:
        for request in requests:
            prompt_alone(request, "alignDRAW")
        words = self.read([request.prompt for request in requests])
        return [
            AlignDRAWSketch(
                request=request, generator=seeded(request.seed), steps=self.config.glimpses, words=words.row(row),
                drawing=self.decoder.begin(1),
            )
            for row, request in enumerate(requests)
        ]  # fmt: skip

    @torch.no_grad()
    def advance(self, sketches: Sequence[Sketch]) -> None:
        drawn = [sketch for sketch in sketches if isinstance(sketch, AlignDRAWSketch)]
        assert len(drawn) == len(sketches)
        drawing = _together([sketch.drawing for sketch in drawn])
        z = self._expected(drawing, drawn)
        drawing, shares = self.decoder(drawing, z, Words.stack([sketch.words for sketch in drawn]))
        pictures = drawing.canvas.sigmoid().mul(2.0).sub(1.0).expand(-1, 3, -1, -1)
        for row, sketch in enumerate(drawn):
            sketch.drawing, sketch.estimate = _one(drawing, row), pictures[row]
            sketch.attention.append(shares[row, : sketch.words.mask.shape[1]])
            sketch.step += 1

    def _expected(self, drawing: Drawing, sketches: Sequence[AlignDRAWSketch]) -> Tensor:
        """Each picture's next latent (B, Z) by its own noise; that of the first glimpse is standard normal."""
        prior = self.decoder.expect(drawing)
        first = torch.tensor([sketch.step == 0 for sketch in sketches], device=prior.mean.device)[:, None]
        prior = Gaussian(prior.mean.masked_fill(first, 0.0), prior.log_sigma.masked_fill(first, 0.0))
        noise = [
            sketch.request.knobs.temperature * torch.randn(self.config.latent, generator=sketch.generator)
            for sketch in sketches
        ]
        return prior.at(torch.stack(noise).to(prior.mean.device))


def _together(rows: Sequence[Drawing]) -> Drawing:
    h, c = (torch.cat([row.decoder[part] for row in rows]) for part in (0, 1))
    return Drawing((h, c), torch.cat([row.canvas for row in rows]))


def _one(drawing: Drawing, row: int) -> Drawing:
    h, c = (part[row : row + 1] for part in drawing.decoder)
    return Drawing((h, c), drawing.canvas[row : row + 1])
