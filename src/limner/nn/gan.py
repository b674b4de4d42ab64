"""Drawing with a network that makes a picture of a sentence and noise in one call, as GANs do.

B batch, W sentence width, Z noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from limner.core import Request, Sketch, check, prompt_alone, seeded


@dataclass(frozen=True, slots=True)
class TruncationKnobs:
    truncation: float = 1.0  # size of the noise, which is cut at two deviations; less is more usual, and more alike

    def __post_init__(self) -> None:
        check(0.0 <= self.truncation <= 1.0, f"truncation = {self.truncation} is not from 0 to 1")


@dataclass(slots=True, kw_only=True)
class NoiseSketch(Sketch):
    sentence: Tensor  # (W,)
    noise: Tensor  # (Z,)


def begin(requests: Sequence[Request], sentences: Tensor, *, noise: int) -> list[Sketch]:
    """A sketch for each request, done after one step. `sentences` is (B, W) and `noise` is Z.

    The noise is a normal one truncated at two deviations and then scaled (Brock et al. 2018). InputError where a
    request has more than a prompt.
    """
    return [_begin(request, sentence, noise) for request, sentence in zip(requests, sentences, strict=True)]


def _begin(request: Request, sentence: Tensor, noise: int) -> NoiseSketch:
    prompt_alone(request, "a GAN")
    generator = seeded(request.seed)
    drawn = request.knobs.truncation * nn.init.trunc_normal_(torch.empty(noise), generator=generator)
    return NoiseSketch(request=request, generator=generator, steps=1, sentence=sentence, noise=drawn.to(sentence))


def noise_for(sentences: Tensor, size: int, generator: Generator) -> Tensor:
    """(B, size) for training: normal, and not truncated."""
    return torch.randn(len(sentences), size, generator=generator).to(sentences)


def advance(sketches: Sequence[Sketch], generate: Callable[[Tensor, Tensor], Tensor]) -> None:
    """The picture of each sketch by `generate(noise (B, Z), sentences (B, W))`."""
    drawn = [sketch for sketch in sketches if isinstance(sketch, NoiseSketch)]
    assert len(drawn) == len(sketches)
    noise, sentences = (torch.stack([getattr(one, name) for one in drawn]) for name in ("noise", "sentence"))
    for sketch, picture in zip(drawn, generate(noise, sentences), strict=True):
        sketch.estimate = picture
        sketch.step += 1
