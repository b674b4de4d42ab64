"""What is DF-GAN's alone: the gradient penalty in closed form, the hinge, the fusion, the sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from limner.core import Batch, InputError, Request, Tokenizer
from limner.drawing import draw
from limner.families.df_gan import DFGAN, Affine, Config, Discriminator, Generator, Knobs, gradient_penalty
from tests.test_contract import squares

TINY = replace(DFGAN.presets["tiny"], image_size=32, width=8)


class Critic(nn.Module):
    """A discriminator by two functions, of pictures (B, 3, H, W) and of sentences (B, W); scores are their sum."""

    def __init__(self, pictures: nn.Module, sentences: nn.Module) -> None:
        super().__init__()
        self.look, self.sentences = pictures, sentences

    def judge(self, seen: Tensor, sentences: Tensor) -> Tensor:
        return (seen + self.sentences(sentences)).flatten()


class HalfSquare(nn.Module):
    """Its gradient is its input."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x.flatten(1).square().sum(dim=1, keepdim=True)


class Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.0 * x.flatten(1).sum(dim=1, keepdim=True)


@pytest.fixture
def gan(tokenizer: Tokenizer) -> DFGAN:
    torch.manual_seed(0)
    return DFGAN(TINY, tokenizer)


def judged(gan: DFGAN, batch: Batch) -> dict[str, Tensor]:
    return gan.judge(batch, torch.Generator().manual_seed(0))


def test_the_penalty_of_a_linear_critic_is_twice_its_slope_to_the_sixth(gan: DFGAN) -> None:
    """2 |w|^6 of the weights on pixels and on the sentence together, whatever the pictures."""
    pictures, sentences = nn.Linear(3 * 32 * 32, 1), nn.Linear(32, 1)
    gan.discriminator = Critic(nn.Sequential(nn.Flatten(), pictures), sentences)
    squared = pictures.weight.square().sum() + sentences.weight.square().sum()
    torch.testing.assert_close(judged(gan, squares(32))["penalty"], (2.0 * squared**3).detach())
    penalty = gradient_penalty(
        gan.discriminator.judge(gan.discriminator.look(x := torch.randn(3, 3, 32, 32, requires_grad=True)),
                                s := torch.randn(3, 32, requires_grad=True)), x, s, power=6.0)  # fmt: skip
    (slope,) = torch.autograd.grad(penalty, pictures.weight)
    torch.testing.assert_close(slope, 6.0 * squared.detach() ** 2 * pictures.weight.detach())  # d|w|^6 = 6 |w|^4 w


def test_the_penalty_is_at_true_pairs_alone(gan: DFGAN) -> None:
    """A critic of slope x has 2 E|x|^6 over the true pictures; neither drawn nor wrong ones come in."""
    gan.discriminator = Critic(HalfSquare(), Nothing())
    batch = Batch(0.05 * torch.randn(4, 3, 32, 32), squares(32).captions)
    expected = 2.0 * batch.images.flatten(1).norm(dim=1).pow(6).mean()
    torch.testing.assert_close(judged(gan, batch)["penalty"], expected)
    gan.discriminator = Critic(Nothing(), HalfSquare())
    expected = 2.0 * gan.joint.sentences(batch.captions).norm(dim=1).pow(6).mean()
    torch.testing.assert_close(judged(gan, batch)["penalty"], expected)


def test_the_penalty_teaches_the_discriminator_and_nobody_else(gan: DFGAN) -> None:
    batch = squares(32)
    judged(gan, batch)["loss"].backward()
    touched = {name.split(".")[0] for name, one in gan.named_parameters() if one.grad is not None}
    assert touched == {"discriminator"}
    assert batch.images.grad is None
    assert not batch.images.requires_grad


def test_the_hinge_counts_wrong_and_drawn_pairs_by_half(gan: DFGAN) -> None:
    """Of an indifferent critic each part is 1; where no picture is wrong that part is 0."""
    gan.discriminator = Critic(Nothing(), Nothing())
    parts = judged(gan, squares(32))
    assert {name: value.item() for name, value in parts.items()} == {
        "loss": 2.0, "right": 1.0, "wrong": 1.0, "drawn": 1.0, "penalty": 0.0,
    }  # fmt: skip
    alike = judged(gan, Batch(squares(32).images, ["the same"] * 4))
    assert (alike["wrong"].item(), alike["loss"].item()) == (0.0, 1.5)
    assert gan.please(squares(32), torch.Generator())["loss"].item() == 0.0


def test_an_affine_layer_begins_as_the_identity() -> None:
    x, condition = torch.randn(2, 5, 4, 4), torch.randn(2, 7)
    affine = Affine(7, 5)
    assert affine(x, condition).equal(x)
    for parameter in affine.parameters():
        nn.init.normal_(parameter)
    scale, shift = affine.scale(condition), affine.shift(condition)
    torch.testing.assert_close(affine(x, condition)[1, 3], x[1, 3] * scale[1, 3] + shift[1, 3])


def test_the_discriminator_begins_without_its_branches(gan: DFGAN) -> None:
    """Their weights start at zero: no convolution of a branch has a say in the score."""
    images, sentences = torch.randn(2, 3, 32, 32), torch.randn(2, 32)
    before = gan.discriminator.judge(gan.discriminator.look(images), sentences)
    with torch.no_grad():
        for name, parameter in gan.discriminator.named_parameters():
            if ".branch." in name:
                parameter.add_(1.0)
    assert gan.discriminator.judge(gan.discriminator.look(images), sentences).equal(before)


@pytest.mark.parametrize(
    ("size", "channels"), [(32, [32, 16, 8, 4]), (64, [32, 32, 16, 8, 4]), (128, [32] * 3 + [16, 8, 4])]
)
def test_its_depth_follows_the_size(size: int, channels: list[int]) -> None:
    """As published: the finest map has `width` channels, coarse ones up to eight times as many."""
    config = replace(TINY, image_size=size, width=4)
    generator, discriminator = Generator(config), Discriminator(config)
    assert [block.convs[0].in_channels for block in generator.blocks] == channels[:-1]
    assert [block.convs[1].out_channels for block in generator.blocks] == channels[1:]
    assert [block.branch[0].out_channels for block in discriminator.look[1:]] == channels[-2::-1]
    pictures = generator(torch.randn(2, config.noise), torch.randn(2, 32))
    assert pictures.shape == (2, 3, size, size)
    assert discriminator.look(pictures).shape == (2, channels[0], 4, 4)
    assert discriminator.judge(discriminator.look(pictures), torch.randn(2, 32)).shape == (2,)


def test_the_generator_learns_a_quarter_as_fast(gan: DFGAN) -> None:
    assert {step.name: step.rate for step in gan.steps()} == {"text": 1.0, "discriminator": 1.0, "generator": 0.25}


def test_without_noise_every_seed_draws_one_picture(gan: DFGAN) -> None:
    still, moving = (
        draw(gan, [Request(prompt="a star", seed=seed, knobs=Knobs(truncation=size)) for seed in (1, 2)])
        for size in (0.0, 1.0)
    )
    assert still[0].equal(still[1])
    assert not moving[0].equal(moving[1])


def test_the_noise_is_cut_at_two_deviations_and_scaled(gan: DFGAN) -> None:
    sketches = gan.begin([Request(prompt="", seed=seed, knobs=Knobs(truncation=0.5)) for seed in range(300)])
    noise = torch.stack([sketch.noise for sketch in sketches])  # type: ignore[attr-defined]
    assert 0.9 < noise.abs().max() <= 1.0
    cut = 0.8796  # the deviation of a normal cut at two of its own
    assert noise.std().item() == pytest.approx(0.5 * cut, rel=0.05)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 100}, "image_size = 100 is not 4 doubled"),
        ({"noise": 0}, "noise = 0 and width = 16 must each be 1 or more"),
        ({"penalty": -1.0}, "penalty = -1.0 must not be negative; 2 is usual"),
        ({"power": 1.0}, "power = 1.0 must be 2 or more; 6 is usual"),
        ({"pace": 0.0}, "pace = 0.0 must be above 0; 0.25 is usual"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Config(**values)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"truncation = 1.5 is not from 0 to 1"):
        Knobs(truncation=1.5)
